"""A term of the volume in other engines: the same energy, a stress, and a clear refusal in open space."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.export.ase import build_ase_atoms, build_ase_calculator
from beadsmith.export.openmm import build_openmm_system
from beadsmith.export.single_point import compute_single_point
from beadsmith.priors.volume import VolumeTerm
from beadsmith.units import ANGSTROM, ELECTRONVOLT
from example_force_fields import SoftPair, make_force_field, make_liquid

FORCE_FIELD = make_force_field(SoftPair(), VolumeTerm((5.0, 40.0), reference_volume=0.04))


@pytest.mark.parametrize("engine", ["openmm", "ase"])
def test_every_engine_has_the_energy_of_the_volume(engine):
    pytest.importorskip(engine)
    frame = make_liquid()
    own, other = (
        compute_single_point(FORCE_FIELD, frame, engine=name, precision="float64") for name in ("beadsmith", engine)
    )
    plain = compute_single_point(make_force_field(SoftPair()), frame, precision="float64")
    assert abs(own.energy - plain.energy) > 1.0
    assert other.energy == pytest.approx(own.energy, rel=1e-9)
    np.testing.assert_allclose(other.forces, plain.forces, rtol=1e-7, atol=1e-7)


def test_the_stress_of_ase_is_the_derivative_of_the_energy_by_strain():
    pytest.importorskip("ase")
    frame, step = make_liquid(), 1e-5
    calculator = build_ase_calculator(FORCE_FIELD, frame, precision="float64")
    atoms = build_ase_atoms(frame)
    atoms.calc = calculator
    stress, volume, cell = atoms.get_stress(), atoms.get_volume(), atoms.cell.array.copy()
    energies = []
    for factor in (1.0 + step, 1.0 - step):
        atoms.set_cell(cell * factor, scale_atoms=True)
        energies.append(atoms.get_potential_energy())
    # an isotropic strain is one third of the trace of the stress for each direction
    slope = (energies[0] - energies[1]) / (2.0 * step) / (3.0 * volume)
    assert stress[:3].mean() == pytest.approx(slope, rel=1e-4)
    assert abs(stress[:3].mean()) > 1e-3 * ANGSTROM**3 / ELECTRONVOLT


@pytest.mark.parametrize("build", [build_openmm_system, build_ase_calculator])
def test_an_open_system_is_refused_before_the_first_energy(build):
    with pytest.raises(InputError, match="depends on the volume, but the system has no periodic cell"):
        build(FORCE_FIELD, replace(make_liquid(), cell=None))
