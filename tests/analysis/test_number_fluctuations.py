"""Compressibility from numbers of molecules in parts of a cell, against closed forms."""

import numpy as np
import pytest

from beadsmith.analysis.number_fluctuations import (
    SIDES,
    add_numbers,
    count_numbers,
    is_measurable,
    measure_bulk_compressibility,
)
from beadsmith.units import GIGAPASCAL, thermal_energy
from example_liquids import make_liquid
from example_trajectories import TEMPERATURE, make_ideal_gas

TRICLINIC = np.array([[2.0, 0.0, 0.0], [0.7, 1.9, 0.0], [-0.4, 0.3, 2.1]])


def make_blocks(n_blocks, *, n_beads=100, n_frames=40, seed=0):
    generator = np.random.default_rng(seed)
    return [count_numbers(make_ideal_gas(generator, n_frames=n_frames, n_beads=n_beads)) for _ in range(n_blocks)]


def test_numbers_of_an_ideal_gas_are_binomial():
    (counts,) = make_blocks(1, n_frames=400)
    mean = counts.numbers / counts.n_frames
    np.testing.assert_allclose(mean, 100 * SIDES**3, rtol=0.03)
    variance = counts.squares / counts.n_frames - mean**2
    # 8 places of each part in 400 frames, not independent: a variance known to 5 to 7 %
    np.testing.assert_allclose(variance, 100 * SIDES**3 * (1.0 - SIDES**3), rtol=0.2)


def test_compressibility_of_an_ideal_gas_at_constant_volume_is_one_over_its_pressure():
    found = measure_bulk_compressibility(make_blocks(20, n_frames=100), temperature=TEMPERATURE, n_molecules=100)
    expected = GIGAPASCAL * 8.0 / (100 * thermal_energy(TEMPERATURE))
    assert found.n_samples == 20
    assert found.standard_error < 0.06 * expected
    assert abs(found.value - expected) < 3.0 * found.standard_error


def test_a_crystal_has_hardly_any():
    """Molecules that tremble about a lattice: numbers in a part fluctuate by its surface alone."""
    lattice = np.stack(np.meshgrid(*[np.arange(10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) / 5.0
    generator = np.random.default_rng(1)
    blocks = []
    for _ in range(5):
        gas = make_ideal_gas(generator, n_frames=40, n_beads=1000)
        positions = lattice + 0.1 + generator.uniform(-0.1, 0.1, (40, 1000, 3))
        blocks.append(count_numbers(type(gas)(**{**vars(gas), "positions": positions.astype(np.float32)})))
    found = measure_bulk_compressibility(blocks, temperature=TEMPERATURE, n_molecules=1000)
    ideal = GIGAPASCAL * 8.0 / (1000 * thermal_energy(TEMPERATURE))
    assert abs(found.value) < 0.1 * ideal


def test_sums_of_blocks_are_those_of_all_frames():
    gas = make_ideal_gas(np.random.default_rng(2), n_frames=10, n_beads=80)
    parts = [count_numbers(gas.select(part)) for part in (slice(0, 4), slice(4, 10))]
    for name, value in vars(count_numbers(gas)).items():
        np.testing.assert_allclose(getattr(add_numbers(*parts), name), value)


def test_parts_of_a_triclinic_cell_hold_their_share_wherever_its_molecules_are_wrapped():
    generator = np.random.default_rng(3)
    gas = make_ideal_gas(generator, n_frames=200, n_beads=70)
    cell = np.repeat(TRICLINIC[None], 200, axis=0).astype(np.float32)
    fractions = generator.random((200, 70, 3))
    inside, outside = (
        count_numbers(type(gas)(**{**vars(gas), "cell": cell, "positions": (f @ TRICLINIC).astype(np.float32)}))
        for f in (fractions, fractions + np.array([3, -2, 1]))
    )
    np.testing.assert_allclose(inside.numbers / 200, 70 * SIDES**3, rtol=0.04)
    # a float32 position on a face may change sides
    np.testing.assert_allclose(outside.squares, inside.squares, rtol=1e-3)


@pytest.mark.parametrize(
    ("trajectory", "expected"),
    [
        (make_liquid(1, (64,), seed=0), True),
        (make_liquid(1, (32, 32), seed=0), False),
        (make_liquid(1, (20,), seed=0), False),
    ],
    ids=["one kind", "a mixture", "few"],
)
def test_only_many_molecules_of_one_kind_can_be_measured(trajectory, expected):
    assert is_measurable(trajectory) is expected
