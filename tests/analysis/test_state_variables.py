"""Which fluctuations a trajectory can be asked about, and which it cannot."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.number_fluctuations import count_numbers
from beadsmith.analysis.state_variables import (
    collect_series,
    has_constant_volume,
    measure_fluctuations,
    measure_scalars,
)
from beadsmith.units import GAS_CONSTANT
from example_trajectories import MASS, TEMPERATURE, make_ideal_gas, make_liquid, make_random_walk


def measure(trajectory, *, is_atomistic=True, numbers=None):
    """Return the fluctuations of a trajectory in memory."""
    blocks = [count_numbers(trajectory.select(part)) for part in np.array_split(np.arange(trajectory.n_frames), 5)]
    return measure_fluctuations(
        collect_series(trajectory, None),
        blocks if numbers is None else numbers,
        temperature=TEMPERATURE,
        n_molecules=trajectory.topology.n_molecules,
        is_atomistic=is_atomistic,
        n_blocks=5,
    )


@pytest.fixture
def liquid():
    return make_liquid(np.random.default_rng(0), n_frames=200)


@pytest.fixture
def breathing(liquid):
    """Return the liquid with volumes that have a standard deviation of 2 %."""
    factors = np.cbrt(1.0 + np.random.default_rng(1).normal(0.0, 0.02, 200))[:, None, None]
    cells = (liquid.cell * factors).astype(np.float32)
    return type(liquid)(**{**vars(liquid), "cell": cells})


def test_the_density_of_a_cell_that_does_not_change_has_no_error(liquid):
    density = measure_scalars(collect_series(liquid, None), 5)["density"]
    # 1 u/nm³ is 1.66053907e-3 g/cm³
    assert density.value == pytest.approx(64 * MASS / 1.9**3 * 1.66053907e-3, rel=1e-6)
    assert density.standard_error == 0.0


def test_volumes_that_change_show_the_compressibility(breathing):
    found, source = measure(breathing)
    assert source == "volumes"
    volumes = breathing.volumes()
    expected = np.var(volumes, ddof=1) / (GAS_CONSTANT * TEMPERATURE * volumes.mean()) * 602.214076
    # blocks of independent frames: the jackknife takes off the same bias as n - 1
    assert found["compressibility"].value == pytest.approx(expected, rel=0.01)


def test_at_constant_volume_numbers_in_parts_of_the_cell_show_it():
    gas = make_ideal_gas(np.random.default_rng(2), n_beads=100)
    found, source = measure(gas)
    assert source == "numbers in parts of the cell"
    assert found["compressibility"] is not None
    assert measure(gas, numbers=[]) == ({"compressibility": None, "heat_capacity": None}, None)


def test_replicas_that_keep_cells_of_different_sizes_show_no_compressibility_by_their_volumes(liquid):
    """Frozen cells of frames at constant pressure spread like its volumes, but no force field made them do so."""
    segment = np.arange(liquid.n_frames) * 2 // liquid.n_frames
    cells = liquid.cell * np.where(segment == 0, 0.98, 1.02).astype(np.float32)[:, None, None]
    frozen = replace(liquid, cell=cells, segment=segment)
    assert not has_constant_volume(frozen.volumes())
    found, source = measure(frozen)
    assert source == "numbers in parts of the cell"
    assert found["heat_capacity"] is None
    assert measure(frozen, numbers=[])[1] is None
    assert measure_scalars(collect_series(frozen, None), 4)["density"].standard_error == 0.0
    changing = replace(frozen, cell=cells * np.linspace(1.0, 1.001, liquid.n_frames, dtype=np.float32)[:, None, None])
    assert measure(changing)[1] == "volumes"


def test_the_heat_capacity_is_read_from_atomistic_energies_at_constant_volume_only(liquid, breathing):
    found = measure(liquid)[0]["heat_capacity"]
    # energies of the example have a standard deviation of 10 kJ/mol; 64 molecules
    expected = 1e3 * 100.0 / (GAS_CONSTANT * TEMPERATURE**2) / 64
    assert abs(found.value - expected) < 3.0 * found.standard_error
    assert found.standard_error < 0.2 * expected
    assert measure(liquid, is_atomistic=False)[0]["heat_capacity"] is None
    assert measure(breathing)[0]["heat_capacity"] is None


def test_rounding_of_a_cell_is_no_change_of_volume():
    edges = np.float32(2.0) + np.array([0.0, 2e-7, -2e-7])
    assert has_constant_volume(edges**3)
    assert not has_constant_volume(np.array([8.0, 8.001]))


def test_an_open_system_has_no_density():
    walk = make_random_walk(np.random.default_rng(3), diffusion=1e-3, n_frames=10)
    open_walk = type(walk)(**{**vars(walk), "cell": None})
    assert measure_scalars(collect_series(open_walk, None), 5)["density"] is None
