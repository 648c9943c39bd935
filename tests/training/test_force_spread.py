"""The spread of an ensemble's forces: closed forms, a slow twin, and a threshold that flags one frame in a hundred."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import betabinom

from beadsmith.batch import build_batch
from beadsmith.energy import AbstractEnergyTerm, predict, predict_network
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.neighbors import find_pairs
from beadsmith.training.force_spread import (
    SpreadScale,
    force_spread,
    reduce_to_frames,
    scale_from_json,
    scale_spread,
)
from example_force_fields import SoftPair, Well, make_force_field, make_frames, make_liquid
from example_force_matching import CUTOFF, EDGE, DensityNetwork
from example_trajectories import MASS, make_trajectory


class Push(AbstractEnergyTerm):
    """−f x: the same force f along x on every bead."""

    kind = "test_push"
    cutoff = 0.0

    def __init__(self, force):
        super().__init__()
        self.force = force

    def forward(self, batch, pairs):
        return -self.force * batch.positions[:, 0]

    def to_config(self):
        return {"force": self.force}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def make_members():
    """Return members that differ by their walls and by a well, on a periodic liquid."""
    return [make_force_field(SoftPair(height=height), Well(harmonic=k)) for height, k in ((50, 3), (60, 1), (75, 2))]


def test_members_that_are_constants_apart_have_the_closed_form_of_their_constants():
    constants = np.array([-3.0, 1.0, 4.0, 10.0])
    members = [make_force_field(Push(force)) for force in constants]
    frames = make_frames(np.random.default_rng(0).normal(size=(5, 7, 3)))
    # one component of three differs
    expected = constants.std(ddof=1) / np.sqrt(3.0)
    np.testing.assert_allclose(force_spread(members, frames, dtype=torch.float64), expected, rtol=1e-12)


def test_wells_of_different_stiffness_spread_in_proportion_to_the_distance():
    stiffness = np.array([100.0, 120.0, 90.0])
    positions = np.random.default_rng(1).normal(size=(4, 6, 3)).astype(np.float32)
    members = [make_force_field(Well(harmonic=k)) for k in stiffness]
    expected = stiffness.std(ddof=1) * np.sqrt((positions.astype(float) ** 2).mean(axis=2))
    np.testing.assert_allclose(force_spread(members, make_frames(positions), dtype=torch.float64), expected, rtol=1e-12)


def test_equal_members_have_no_spread():
    members = [make_force_field(SoftPair()) for _ in range(3)]
    assert (force_spread(members, make_liquid(n_frames=2)) == 0.0).all()


def test_the_order_of_the_members_does_not_matter():
    members, frames = make_members(), make_liquid(n_frames=2)
    first = force_spread(members, frames, dtype=torch.float64)
    for order in itertools.permutations(members):
        np.testing.assert_allclose(force_spread(order, frames, dtype=torch.float64), first, rtol=1e-12)


def test_batches_of_frames_give_what_a_loop_over_frames_beads_and_members_gives():
    members, frames = make_members(), make_liquid(n_frames=40)
    found = force_spread(members, frames, dtype=torch.float64)
    for frame in (0, 17, 39):
        batch = build_batch(frames, np.array([frame]), dtype=torch.float64)
        pairs = find_pairs(batch, 0.5)
        forces = [predict(member, batch, pairs).forces.tolist() for member in members]
        for bead in range(0, frames.n_sites, 9):
            total = 0.0
            for component in range(3):
                values = [own[bead][component] for own in forces]
                mean = sum(values) / 3
                total += sum((value - mean) ** 2 for value in values) / 2
            assert found[frame, bead] == pytest.approx((total / 3) ** 0.5, rel=1e-9)


def test_a_frame_has_the_largest_spread_of_its_beads_each_over_the_typical_one_of_its_type():
    spread = np.array([[1.0, 2.0, 30.0], [4.0, 1.0, 20.0]])
    found = reduce_to_frames(spread, np.array([0, 0, 1]), np.array([2.0, 20.0]))
    np.testing.assert_array_equal(found, [1.5, 2.0])


def test_a_type_without_spread_is_never_flagged_for_it():
    found = reduce_to_frames(np.array([[0.0, 3.0]]), np.array([0, 1]), np.array([0.0, 2.0]))
    np.testing.assert_array_equal(found, [1.5])


def make_scale(n_frames, *, seed=0, n_beads=5):
    spread = np.random.default_rng(seed).gamma(2.0, size=(n_frames, n_beads))
    return spread, scale_spread([spread], [make_frames(np.zeros((1, n_beads, 3))).topology])


@pytest.mark.parametrize(("n_frames", "n_beyond"), [(20, 0), (99, 0), (100, 0), (199, 1), (1000, 9)])
def test_the_threshold_is_the_rank_that_further_frames_exceed_once_in_a_hundred_times(n_frames, n_beyond):
    spread, scale = make_scale(n_frames)
    topology = make_frames(np.zeros((1, 5, 3))).topology
    assert scale.flag(spread, topology).sum() == n_beyond
    (threshold,) = scale.thresholds
    assert threshold.expected == pytest.approx((n_beyond + 1) / (n_frames + 1))
    # never more than one in a hundred from the first number of frames on that can tell
    assert n_frames < 99 or threshold.expected <= 0.01 + 1e-12


def test_on_average_over_thresholds_the_flagged_share_is_the_expected_one():
    # 400 draws of 150 training and 50 further frames: 20,000 further frames, mean of Beta(2, 149) draws
    shares, topology = [], make_frames(np.zeros((1, 5, 3))).topology
    for seed in range(400):
        _, scale = make_scale(150, seed=seed)
        further = np.random.default_rng(10_000 + seed).gamma(2.0, size=(50, 5))
        shares.append(scale.flag(further, topology).mean())
    expected = scale.thresholds[0].expected
    assert abs(np.mean(shares) - expected) < 3.0 * np.std(shares, ddof=1) / np.sqrt(len(shares))


def test_a_scale_comes_back_from_json():
    _, scale = make_scale(50)
    found = scale_from_json(scale.to_json())
    assert isinstance(found, SpreadScale)
    assert found == scale


def test_frames_of_two_compositions_have_a_threshold_each_and_others_none():
    small, large = (make_frames(np.zeros((1, n, 3))).topology for n in (3, 30))
    generator = np.random.default_rng(4)
    scale = scale_spread([generator.gamma(2.0, size=(200, n)) for n in (3, 30)], [small, large])
    values = [scale.find_threshold(topology).value for topology in (small, large)]
    # the largest of thirty is larger than the largest of three
    assert values[0] < values[1]
    other = make_frames(np.zeros((1, 4, 3))).topology
    assert scale.find_threshold(other) is None
    with pytest.raises(InputError, match="the frames have 4 bead, the training frames 3 bead; 30 bead"):
        scale.flag(np.zeros((2, 4)), other)


def test_one_member_has_no_spread():
    with pytest.raises(InputError, match="at least two members, got 1"):
        force_spread(make_members()[:1], make_liquid())


def test_members_of_other_beads_are_refused():
    other = make_force_field(SoftPair(), type_names=("a", "b"), masses=(20.0, 20.0))
    with pytest.raises(InputError, match="same bead types"):
        force_spread([make_force_field(SoftPair()), other], make_liquid())


def test_frames_of_unknown_beads_are_refused():
    frames = make_frames(np.zeros((1, 2, 3)), types=np.array([0, 0]), type_names=("stranger",))
    with pytest.raises(InputError, match="'stranger' is not in the force field"):
        force_spread(make_members(), frames)


N_SIDE, JITTER, NOISE = 3, 0.06, 30.0
"""Beads along an edge, their displacement from a lattice [nm] and the noise of their force labels [kJ/mol/nm]."""


def draw_frames(seed, n_frames, *, edge=EDGE, jitter=JITTER):
    """Return independent frames of a liquid about a lattice."""
    grid = np.stack(np.meshgrid(*[np.arange(N_SIDE)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    moves = np.random.default_rng(seed).normal(0.0, jitter, (n_frames, len(grid), 3))
    return make_trajectory(((grid + 0.5) * edge / N_SIDE + moves) % edge, cell=np.eye(3) * edge)


def fit_density(frames, *, seed):
    """Return the network of two parameters that fits noisy forces of a known one best, by least squares."""
    batch = build_batch(frames, np.arange(frames.n_frames), dtype=torch.float64)
    pairs = find_pairs(batch, CUTOFF)
    basis = [DensityNetwork(*one).requires_grad_(False) for one in ((1.0, 0.0), (0.0, 1.0))]
    design = np.stack([predict_network(one, batch, pairs).forces.numpy().ravel() for one in basis], axis=1)
    labels = design @ [20.0, -3.0] + np.random.default_rng(seed).normal(0.0, NOISE, len(design))
    return DensityNetwork(*np.linalg.lstsq(design, labels, rcond=None)[0].tolist()).requires_grad_(False)


@pytest.fixture(scope="module")
def calibrated():
    """Return members fitted to noisy forces on 100 of 400 independent frames each, and their scale on all 400."""
    liquid = draw_frames(5, 400)
    record = ForceFieldRecord(
        templates=(make_force_field(SoftPair(), masses=(MASS,)).record.templates[0],),
        state_points=(liquid.state_point,),
    )
    parts = np.array_split(np.arange(400), 4)
    members = [ForceField([], fit_density(liquid.select(part), seed=k), record) for k, part in enumerate(parts)]
    return members, scale_spread([force_spread(members, liquid)], [liquid.topology])


def test_held_out_frames_of_the_same_state_are_flagged_one_time_in_a_hundred(calibrated):
    members, scale = calibrated
    held_out = draw_frames(6, 800)
    n_flagged = int(scale.flag(force_spread(members, held_out), held_out.topology).sum())
    # independent frames: beyond the 397th of 400 spreads lie beta-binomially many of 800 others, here within 3 sigma
    low, high = betabinom(800, 4, 397).ppf([0.0014, 0.9986])
    assert low <= n_flagged <= high


@pytest.mark.parametrize(
    ("edge", "jitter"), [(0.8 * EDGE, JITTER), (EDGE, 2.0 * JITTER)], ids=["twice as dense", "distorted"]
)
def test_frames_of_another_state_are_flagged_far_more_often(calibrated, edge, jitter):
    members, scale = calibrated
    other = draw_frames(7, 100, edge=edge, jitter=jitter)
    share = scale.flag(force_spread(members, other), other.topology).mean()
    # the share of the same state is below 0.03 (3 sigma of its binomial and its threshold)
    assert share > 0.3
