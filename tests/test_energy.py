"""`predict` against closed forms and finite differences, for pair terms and for pair networks alike."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import AbstractEnergyTerm, AbstractNetwork, predict, predict_network, trust_fused
from beadsmith.errors import InputError
from beadsmith.neighbors import find_pairs, pair_vectors
from beadsmith.thermal_form import ThermalForm
from example_force_matching import CUTOFF, DensityNetwork, make_labelled_liquid
from example_systems import CELLS, make_batch


class InversePower(AbstractEnergyTerm):
    """(1 − r/R)² / r⁶ up to its cutoff R: short-ranged, with a smooth end."""

    kind = "test_inverse_power"

    def __init__(self, cutoff):
        super().__init__()
        self.cutoff = cutoff

    def forward(self, batch, pairs):
        vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, pairs)[pairs.half]
        distance = vectors.norm(dim=1)
        energy = torch.where(distance < self.cutoff, (1 - distance / self.cutoff) ** 2 * distance**-6, 0.0)
        return torch.zeros_like(batch.positions[:, 0]).index_add(0, pairs.index[0][pairs.half], energy)

    def to_config(self):
        return {"cutoff": self.cutoff}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class PairNetwork(AbstractNetwork):
    """The same energy as a network: half of each directed pair, times a squared sum for a many-body part."""

    kind = "test_pair_network"
    n_channels = 2

    def __init__(self, cutoff, many_body=0.0):
        super().__init__()
        self.cutoff, self.many_body = cutoff, many_body

    def forward(self, types, pair_index, pair_vectors, pair_bond_class):
        distance = pair_vectors.norm(dim=1)
        pair = 0.5 * (1 - distance / self.cutoff) ** 2 * distance**-6
        site = torch.zeros(len(types), dtype=pair.dtype).index_add(0, pair_index[0], pair)
        return torch.stack([site, self.many_body * site**2], dim=1)

    def to_config(self):
        return {"cutoff": self.cutoff}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@dataclass
class Model:
    """The least that `predict` asks of a force field."""

    prior: list = field(default_factory=list)
    network: AbstractNetwork | None = None
    thermal_form: ThermalForm = field(default_factory=ThermalForm)


MODELS = {
    "prior": Model([InversePower(0.9)]),
    "network": Model(network=PairNetwork(0.9, 0.01)),
    "both": Model([InversePower(0.7)], PairNetwork(0.9, 0.01)),
}


def spread_positions(cell, rng, n_sites=24, smallest=0.35):
    """Return random positions without close contacts, so that energies stay moderate."""
    points = [rng.random(3) @ cell]
    while len(points) < n_sites:
        trial = rng.random(3) @ cell
        delta = np.linalg.solve(cell.T, (np.array(points) - trial).T).T
        delta = (delta - np.round(delta)) @ cell
        if np.linalg.norm(delta, axis=1).min() > smallest:
            points.append(trial)
    return np.array(points)


def energy_of(model, positions, cell, **options):
    batch = make_batch(positions, cell, **options)
    return predict(model, batch, find_pairs(batch, 1.0))


@pytest.mark.parametrize("name", MODELS)
def test_forces_are_minus_the_energy_gradient(name):
    rng = np.random.default_rng(5)
    cell = CELLS["triclinic"]
    positions = spread_positions(cell, rng)
    forces = energy_of(MODELS[name], positions, cell).forces.numpy()
    step = 1e-5
    for site, axis in [(0, 0), (3, 1), (11, 2)]:
        moved = [positions.copy(), positions.copy()]
        moved[0][site, axis] += step
        moved[1][site, axis] -= step
        up, down = (float(energy_of(MODELS[name], p, cell).energy) for p in moved)
        # central differences: O(step²) times the third derivative, about 1e-7 of the largest force
        assert forces[site, axis] == pytest.approx(-(up - down) / (2 * step), abs=1e-6 * np.abs(forces).max())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("molecule", [None, [k // 3 for k in range(24)]])
def test_virial_is_minus_the_strain_derivative_under_rigid_scaling_of_molecule_centres(name, molecule):
    rng = np.random.default_rng(6)
    cell = CELLS["triclinic"]
    positions = spread_positions(cell, rng)
    molecule_index = np.arange(24) if molecule is None else np.array(molecule)
    virial = energy_of(MODELS[name], positions, cell, molecule=molecule).virial[0].numpy()

    def strained(strain):
        counts = np.bincount(molecule_index)
        centres = np.stack([np.bincount(molecule_index, positions[:, a]) / counts for a in range(3)], axis=1)
        moved = positions + (centres @ strain)[molecule_index]
        return float(energy_of(MODELS[name], moved, cell @ (np.eye(3) + strain), molecule=molecule).energy)

    step = 1e-5
    for a, b in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2)]:
        strain = np.zeros((3, 3))
        strain[a, b] = strain[b, a] = 1.0
        strain /= strain.sum()
        expected = -(strained(step * strain) - strained(-step * strain)) / (2 * step)
        assert virial[a, b] == pytest.approx(expected, abs=2e-6 * np.abs(virial).max())


def test_a_half_counted_pair_network_equals_the_same_pair_term():
    rng = np.random.default_rng(7)
    cell = CELLS["orthorhombic"]
    positions = spread_positions(cell, rng)
    term = energy_of(Model([InversePower(0.8)]), positions, cell)
    network = energy_of(Model(network=PairNetwork(0.8)), positions, cell)
    for field_name in ("energy", "forces", "virial"):
        torch.testing.assert_close(getattr(term, field_name), getattr(network, field_name), rtol=1e-12, atol=1e-9)


def test_a_batch_of_two_systems_equals_the_two_systems():
    rng = np.random.default_rng(8)
    cell = CELLS["cubic"]
    frames = [spread_positions(cell, rng, n_sites=15) for _ in range(2)]
    joint = energy_of(MODELS["both"], np.concatenate(frames), cell, n_systems=2)
    singles = [energy_of(MODELS["both"], frame, cell) for frame in frames]
    for name in ("energy", "forces", "virial"):
        expected = torch.cat([getattr(single, name) for single in singles])
        torch.testing.assert_close(getattr(joint, name), expected, rtol=1e-12, atol=1e-9)


def test_a_skin_list_changes_nothing():
    cell = CELLS["triclinic"]
    batch = make_batch(spread_positions(cell, np.random.default_rng(9)), cell)
    short, long = (predict(MODELS["both"], batch, find_pairs(batch, cutoff)) for cutoff in (0.9, 1.3))
    torch.testing.assert_close(short.forces, long.forces, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(short.energy, long.energy, rtol=1e-12, atol=1e-9)


class WrittenOut(InversePower):
    """The same energy with an explicit gradient, which here comes from the slow twin and is counted."""

    n_calls = 0

    def predict(self, batch, pairs):
        self.n_calls += 1
        return AbstractEnergyTerm.predict(self, batch, pairs)


def test_terms_with_and_without_an_explicit_gradient_add_up():
    cell = CELLS["triclinic"]
    batch = make_batch(spread_positions(cell, np.random.default_rng(12)), cell)
    pairs, direct = find_pairs(batch, 1.0), WrittenOut(0.9)
    found = predict(Model([InversePower(0.7), direct, InversePower(0.8)]), batch, pairs)
    expected = predict(Model([InversePower(r) for r in (0.7, 0.8, 0.9)]), batch, pairs)
    assert direct.n_calls == 1
    for name in ("energy", "forces", "virial"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-9)


def test_net_force_of_a_periodic_system_is_zero():
    cell = CELLS["cubic"]
    prediction = energy_of(MODELS["both"], spread_positions(cell, np.random.default_rng(10)), cell)
    assert float(prediction.forces.sum(0).abs().max()) < 1e-9 * float(prediction.forces.abs().max())


def test_channel_weights_scale_their_channel():
    cell = CELLS["cubic"]
    batch = make_batch(spread_positions(cell, np.random.default_rng(11)), cell)
    pairs = find_pairs(batch, 1.0)
    model = MODELS["network"]
    parts = [
        predict(model, batch, pairs, torch.tensor([weights], dtype=torch.float64)).energy
        for weights in ([1.0, 0.0], [0.0, 1.0], [2.0, -3.0])
    ]
    torch.testing.assert_close(parts[2], 2.0 * parts[0] - 3.0 * parts[1], rtol=1e-12, atol=1e-9)


class MiscompiledNetwork(DensityNetwork):
    """A network whose compiled path is off by a given fraction, as a compiler's mistake would make it."""

    def __init__(self, fraction: float) -> None:
        super().__init__(-8.0, 1.5)
        self.fraction = fraction

    def pair_gradient(self, *inputs, create_graph=False):
        energies, gradient = super().pair_gradient(*inputs, create_graph=create_graph)
        return energies, gradient * (1.0 + self.fraction) if self.is_fused else gradient


def test_wrong_compiled_forces_are_found_on_a_frame_and_replaced_by_plain_torch_with_a_warning():
    liquid = make_labelled_liquid(0, n_frames=1)
    batch = build_batch(liquid, np.array([0]), dtype=torch.float64)
    pairs = find_pairs(batch, CUTOFF)
    network = MiscompiledNetwork(1e-3)
    with pytest.warns(UserWarning, match="plain torch"):
        error = trust_fused(network, batch, pairs)
    assert error == pytest.approx(1e-3)
    expected = predict_network(DensityNetwork(-8.0, 1.5), batch, pairs).forces
    assert torch.equal(predict_network(network, batch, pairs).forces, expected)


@pytest.mark.filterwarnings("error")
def test_right_compiled_forces_stay():
    liquid = make_labelled_liquid(0, n_frames=1)
    batch = build_batch(liquid, np.array([0]), dtype=torch.float64)
    network = MiscompiledNetwork(1e-12)
    assert trust_fused(network, batch, find_pairs(batch, CUTOFF)) < 1e-10
    assert network.is_fused


class RoundingNetwork(MiscompiledNetwork):
    """A network whose forces in single precision are off, the compiled ones by `fraction` more than the plain ones."""

    def pair_gradient(self, *inputs, create_graph=False):
        energies, gradient = super().pair_gradient(*inputs, create_graph=create_graph)
        return energies, gradient * (1.0 + 1e-4) if gradient.dtype == torch.float32 else gradient


@pytest.mark.parametrize(("fraction", "is_trusted"), [(2e-4, True), (6e-4, False)])
@pytest.mark.filterwarnings("ignore:compiled forces")
def test_compiled_forces_may_round_as_plain_torch_does_in_single_precision(fraction, is_trusted):
    liquid = make_labelled_liquid(0, n_frames=1)
    batch = build_batch(liquid, np.array([0]), dtype=torch.float32)
    network = RoundingNetwork(fraction).float()
    assert trust_fused(network, batch, find_pairs(batch, CUTOFF)) == pytest.approx(fraction, rel=0.05)
    assert network.is_fused == is_trusted


class UncompiledNetwork(DensityNetwork):
    """A network whose compiled path raises an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(-8.0, 1.5)
        self.error = error

    def pair_gradient(self, *inputs, create_graph=False):
        if self.is_fused:
            raise self.error
        return super().pair_gradient(*inputs, create_graph=create_graph)


def test_sweeps_that_cannot_be_compiled_are_replaced_by_plain_torch_but_wrong_input_is_an_error():
    batch = build_batch(make_labelled_liquid(0, n_frames=1), np.array([0]), dtype=torch.float64)
    pairs = find_pairs(batch, CUTOFF)
    network = UncompiledNetwork(RuntimeError("no C compiler"))
    with pytest.warns(UserWarning, match="no C compiler"):
        assert trust_fused(network, batch, pairs) == math.inf
    assert torch.isfinite(predict_network(network, batch, pairs).forces).all()
    with pytest.raises(InputError):
        trust_fused(UncompiledNetwork(InputError("unsorted")), batch, pairs)


@pytest.mark.filterwarnings("ignore:compiled forces")
def test_compiled_forces_that_are_not_numbers_are_not_trusted():
    liquid = make_labelled_liquid(0, n_frames=1)
    batch = build_batch(liquid, np.array([0]), dtype=torch.float64)
    network = MiscompiledNetwork(float("nan"))
    trust_fused(network, batch, find_pairs(batch, CUTOFF))
    assert not network.is_fused


def test_open_systems_of_one_molecule_have_no_molecular_virial():
    positions = spread_positions(CELLS["cubic"], np.random.default_rng(13))
    batch = make_batch(positions, None)
    batch = replace(batch, molecule_index=torch.zeros_like(batch.molecule_index))
    model = MODELS["both"]
    found = predict(model, batch, find_pairs(batch, 1.0))
    # the prior's part comes from automatic differentiation, whose sums cancel to rounding
    scale = float((found.forces.abs().sum() * batch.positions.abs().max()).detach())
    assert float(found.virial.abs().max()) < 1e-12 * scale
