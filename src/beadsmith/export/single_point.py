"""Energy and forces of one frame from every engine, in one unit system, so that engines can be compared."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from beadsmith.batch import build_batch
from beadsmith.energy import predict
from beadsmith.errors import InputError
from beadsmith.export.evaluator import Precision, molecule_images
from beadsmith.force_field import ForceField, adopt_topology, fix_temperature
from beadsmith.neighbors import build_skin_list
from beadsmith.trajectory import Trajectory
from beadsmith.units import ANGSTROM, ELECTRONVOLT


@dataclass(frozen=True, kw_only=True)
class SinglePoint:
    """What one engine says about one frame."""

    engine: str
    """Name of the engine."""
    energy: float
    """Potential energy [kJ/mol]."""
    forces: Float[np.ndarray, "sites 3"]
    """Force on each bead [kJ/mol/nm]."""


def compute_single_point(
    force_field: ForceField,
    frame: Trajectory,
    *,
    engine: str = "beadsmith",
    temperature: float | None = None,
    precision: Precision = "float32",
) -> SinglePoint:
    """Return energy and forces of the first frame of a trajectory as an engine computes them.

    Parameters
    ----------
    force_field : Force field.
    frame : Beads, positions and cell.
    engine : ``"beadsmith"`` (its own simulation's call), ``"openmm"`` or ``"ase"``.
    temperature : Temperature [K] of a force field that depends on it; of no meaning for others.
    precision : Precision of energies and forces.

    Raises
    ------
    InputError : the engine is unknown or not installed, the frame does not fit the force field, or it depends on
        temperature and none is given.
    """
    if engine not in _ENGINES:
        raise InputError(f"engine is '{engine}', expected one of {', '.join(_ENGINES)}")
    energy, forces = _ENGINES[engine](fix_temperature(force_field, temperature), frame.select(slice(0, 1)), precision)
    return SinglePoint(engine=engine, energy=energy, forces=forces)


def _compute_with_beadsmith(
    force_field: ForceField, frame: Trajectory, precision: Precision
) -> tuple[float, np.ndarray]:
    dtype = getattr(torch, precision)
    model = copy.deepcopy(force_field).to(dtype)
    topology = adopt_topology(frame.topology, force_field)
    # the simulation's own path: molecules wrapped into the cell, and a list with a skin
    positions = frame.positions.astype(np.float64)
    images = molecule_images(positions[0], None if frame.cell is None else frame.cell[0].astype(float), topology)
    frame = replace(frame, topology=topology, positions=positions - images)
    batch = build_batch(frame, np.array([0]), dtype=dtype)
    pairs = build_skin_list(batch, force_field.cutoff, 0.1).pairs
    with torch.no_grad():
        prediction = predict(model, batch, pairs)
    return float(prediction.energy[0]), prediction.forces.double().numpy()


def _compute_with_openmm(force_field: ForceField, frame: Trajectory, precision: Precision) -> tuple[float, np.ndarray]:
    import openmm
    from openmm import unit

    from beadsmith.export.openmm import build_openmm_system

    system, _ = build_openmm_system(force_field, frame, precision=precision)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(frame.positions[0].astype(float))
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return float(energy), np.asarray(forces)


def _compute_with_ase(force_field: ForceField, frame: Trajectory, precision: Precision) -> tuple[float, np.ndarray]:
    from beadsmith.export.ase import build_ase_atoms, build_ase_calculator

    calculator = build_ase_calculator(force_field, frame, precision=precision)
    atoms = build_ase_atoms(frame)
    atoms.calc = calculator
    return atoms.get_potential_energy() * ELECTRONVOLT, atoms.get_forces() * (ELECTRONVOLT / ANGSTROM)


_ENGINES: dict[str, Callable[[ForceField, Trajectory, Precision], tuple[float, np.ndarray]]] = {
    "beadsmith": _compute_with_beadsmith,
    "openmm": _compute_with_openmm,
    "ase": _compute_with_ase,
}
