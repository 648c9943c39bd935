"""Trained ensembles: on held-out frames of their state the flag is calibrated, on those of others it is up."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import betabinom

from beadsmith.errors import InputError
from beadsmith.io.h5md import write_trajectory
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.priors.fit import PriorSettings
from beadsmith.training.ensemble import (
    EnsembleSettings,
    choose_evenly,
    derive_member_seed,
    read_ensemble,
    train_ensemble,
)
from beadsmith.training.fit import train
from beadsmith.training.folds import Fold
from beadsmith.training.force_spread import force_spread
from beadsmith.training.settings import TrainingSettings
from example_force_matching import EDGE, DensityNetwork, make_labelled_liquid
from example_trajectories import make_trajectory

NETWORK = HipnnSettings(n_features=4, n_sensitivities=5, n_atom_layers=1, cutoff=0.6, soft_min=0.24, soft_max=0.5)
PRIOR = PriorSettings(cutoff=0.6, n_intervals=6, n_blocks=3)
SETTINGS = TrainingSettings(epochs=6, learning_rate=0.01, averaging=0.9, noise_floor_fractions=())


def test_seeds_of_members_are_the_runs_own_and_others_that_a_configuration_allows():
    seeds = [derive_member_seed(3, number) for number in range(50)]
    assert seeds[0] == 3
    assert len(set(seeds)) == 50
    assert 0 <= min(seeds) <= max(seeds) < 2**31
    assert not set(seeds[1:]) & {derive_member_seed(4, number) for number in range(50)}


def test_with_folds_every_member_but_the_first_is_not_shown_a_part_of_its_own():
    settings = EnsembleSettings(members=4, kind="folds")
    expected = [None, *(Fold(number=k, count=3) for k in range(3))]
    assert [settings.find_fold(number) for number in range(4)] == expected
    assert EnsembleSettings(members=4).find_fold(2) is None


@pytest.mark.parametrize(("members", "kind"), [(1, "seeds"), (0, "seeds"), (2, "folds")])
def test_too_few_members_are_refused(members, kind):
    with pytest.raises(InputError, match=f"'members' is {members}, expected at least"):
        EnsembleSettings(members=members, kind=kind)


def test_of_too_many_frames_evenly_spread_ones_are_chosen():
    rows = np.stack([np.zeros(1000, dtype=int), np.arange(1000)], axis=1)
    chosen = choose_evenly(rows, 11)[:, 1]
    assert (len(chosen), chosen[0], chosen[-1]) == (11, 0, 999)
    assert set(np.diff(chosen)) <= {99, 100}
    assert choose_evenly(rows, 1000) is rows


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """Return three networks of different seeds, trained on 210 independent frames."""
    folder = tmp_path_factory.mktemp("ensemble")
    liquid = make_labelled_liquid(0, truth=DensityNetwork(-8.0, 1.5), noise=20.0, n_frames=300)
    write_trajectory(folder / "mapped.h5", liquid, {"aggregation": "optimal"})
    fit = partial(train, SETTINGS, NETWORK, PRIOR, (folder / "mapped.h5",))
    fit(folder / "force_field", baseline_output=folder / "pair_spline", seed=3, identity="main")
    train_ensemble(
        EnsembleSettings(members=3),
        SETTINGS,
        fit,
        (folder / "mapped.h5",),
        folder / "ensemble",
        main=folder / "force_field",
        scratch=folder / "ensemble.checkpoint",
        seed=3,
        identity="others",
    )
    return read_ensemble(folder / "ensemble", folder / "force_field")


def draw_frames(seed, n_frames, *, edge=EDGE, jitter=0.06):
    """Return frames of the liquid that the ensemble was trained on, or of a denser or a hotter one."""
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    moves = np.random.default_rng(seed).normal(0.0, jitter, (n_frames, len(grid), 3))
    return make_trajectory(((grid + 0.5) * edge / 3 + moves) % edge, cell=np.eye(3) * edge)


@pytest.mark.slow
def test_trained_networks_flag_one_held_out_frame_in_a_hundred_and_most_of_another_state(ensemble):
    (threshold,) = ensemble.scale.thresholds
    n_train, rank = 210, 209
    assert threshold.n_frames == n_train

    def count(frames):
        return int(ensemble.scale.flag(force_spread(ensemble.members, frames), frames.topology).sum())

    # frames are independent, so counts are beta-binomial, here within 3 sigma; members have seen the noise of their
    # training frames, which lifts the spread of others, if at all, by less than these 210 frames can show
    low, high = betabinom(500, n_train + 1 - rank, rank).ppf([0.0014, 0.9986])
    assert low <= count(draw_frames(11, 500)) <= high
    assert count(draw_frames(12, 100, edge=0.8 * EDGE)) > 30
    assert count(draw_frames(13, 100, jitter=0.12)) > 30
