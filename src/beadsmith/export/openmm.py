"""OpenMM: a force field as a `PythonForce`, and a folder with a script that runs it.

A serialised `PythonForce` holds a pickle of its function, and reading such a file runs whatever it holds. So none is
written: the script makes the system anew from the force field folder, and the function here cannot be pickled.
"""

from pathlib import Path

import numpy as np
import openmm
import openmm.app
import torch
from openmm import unit

from beadsmith.errors import InputError
from beadsmith.export.evaluator import Precision, build_evaluator
from beadsmith.export.folder import read_start, write_export_folder
from beadsmith.force_field import ForceField, adopt_topology, load_force_field
from beadsmith.trajectory import Trajectory
from beadsmith.units import ANGSTROM

SCRIPT = "run_openmm.py"


def build_openmm_system(
    force_field: ForceField,
    frame: Trajectory,
    *,
    temperature: float | None = None,
    precision: Precision = "float32",
    device: torch.device | str = "cpu",
) -> tuple[openmm.System, openmm.app.Topology]:
    """Return an OpenMM system and topology for the beads of a frame.

    The system cannot be serialised to XML: see the module's text. Use the Reference platform for small systems: with
    one Python force the others only add overhead.

    Parameters
    ----------
    force_field : Force field; it is copied.
    frame : Beads and cell; its first frame counts.
    temperature : Temperature [K] of a force field that depends on it; of no meaning for others.
    precision : Precision of energies and forces.
    device : Where the force field is computed, whatever the OpenMM platform.

    Raises
    ------
    InputError : the frame holds beads or molecules that the force field does not know, or it depends on temperature and
        none is given.
    """
    evaluate = build_evaluator(force_field, frame, temperature=temperature, precision=precision, device=device)
    topology = adopt_topology(frame.topology, force_field)
    is_periodic = frame.cell is not None

    def compute(state: openmm.State) -> tuple[float, np.ndarray]:
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer) if is_periodic else None
        prediction = evaluate(positions, cell)
        return float(prediction.energy[0]), prediction.forces.double().cpu().numpy()

    system = openmm.System()
    for mass in topology.masses.tolist():
        system.addParticle(mass)
    force = openmm.PythonForce(compute)
    force.setName("beadsmith")
    force.setUsesPeriodicBoundaryConditions(is_periodic)
    system.addForce(force)
    if frame.cell is not None:
        system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in frame.cell[0].astype(float).tolist()))
    return system, build_openmm_topology(frame)


def build_openmm_topology(frame: Trajectory) -> openmm.app.Topology:
    """Return the beads of a frame as an OpenMM topology: one chain a molecule, atoms without element."""
    beads, topology = frame.topology, openmm.app.Topology()
    chains = [topology.addChain() for _ in range(beads.n_molecules)]
    residues: dict[int, openmm.app.topology.Residue] = {}
    atoms = []
    for site, name in enumerate(beads.names):
        residue = int(beads.residue_index[site])
        if residue not in residues:
            residues[residue] = topology.addResidue(beads.residue_names[residue], chains[beads.molecule_index[site]])
        atoms.append(topology.addAtom(name, None, residues[residue]))
    for a, b in beads.bonds.tolist():
        topology.addBond(atoms[a], atoms[b])
    if frame.cell is not None:
        topology.setPeriodicBoxVectors([openmm.Vec3(*row) for row in frame.cell[0].astype(float).tolist()])
    return topology


def export_openmm(
    force_field_folder: Path, start: Path, output: Path, *, frame: int = -1, temperature: float | None = None
) -> Path:
    """Write a folder with a script that runs a force field in OpenMM, and everything the script needs.

    The folder holds the script, a copy of the force field, the start frame (``start.h5``), and the same frame as
    ``start.pdb`` for viewers and as the topology of the script's DCD trajectory.

    Parameters
    ----------
    force_field_folder : Force field.
    start : Trajectory file at bead resolution.
    output : Folder to write; made if it does not exist.
    frame : Frame to start from, negative from the end.
    temperature : Temperature of the script [K]; that of the first training state point if not given.

    Returns
    -------
    Path of the script.

    Raises
    ------
    InputError : a file cannot be read or written, or the frame does not fit the force field.
    """
    force_field = load_force_field(force_field_folder)
    frames = read_start(start, force_field, frame=frame)
    script = write_export_folder(
        output, SCRIPT, force_field=force_field, start=frames, temperature=temperature, template=_TEMPLATE
    )
    positions = frames.positions[0].astype(float) / ANGSTROM * unit.angstrom
    try:
        with (script.parent / "start.pdb").open("w") as file:
            openmm.app.PDBFile.writeFile(build_openmm_topology(frames), positions, file)
    except (OSError, ValueError) as error:
        raise InputError(f"the start frame cannot be written as PDB ({error})", where=str(script.parent)) from error
    return script


_TEMPLATE = '''\
"""Run a beadsmith force field in OpenMM: python run_openmm.py [number of steps]

Needs beadsmith and OpenMM. Reads force_field/ and start.h5 beside this script; writes trajectory.dcd (open it with
start.pdb) and prints energy, temperature and speed. Written by beadsmith $version.
"""

import sys
from pathlib import Path

import openmm
import openmm.app
from openmm import unit

from beadsmith.export.openmm import build_openmm_system
from beadsmith.force_field import load_force_field
from beadsmith.io.h5md import read_trajectory

TEMPERATURE = $temperature  # K
FRICTION = 2.0 / unit.picosecond
TIMESTEP = 5.0 * unit.femtosecond
SAVE_EVERY = 40
SEED = 1

folder = Path(__file__).parent
n_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
start = read_trajectory(folder / "start.h5")
force_field = load_force_field(folder / "force_field")
system, topology = build_openmm_system(force_field, start, temperature=TEMPERATURE)
integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE * unit.kelvin, FRICTION, TIMESTEP)
integrator.setRandomNumberSeed(SEED)
# one Python force: the other platforms add overhead and no speed
platform = openmm.Platform.getPlatformByName("Reference")
simulation = openmm.app.Simulation(topology, system, integrator, platform)
simulation.context.setPositions(start.positions[0].astype(float) * unit.nanometer)
simulation.context.setVelocitiesToTemperature(TEMPERATURE * unit.kelvin, SEED)
simulation.reporters.append(openmm.app.DCDReporter(str(folder / "trajectory.dcd"), SAVE_EVERY))
simulation.reporters.append(
    openmm.app.StateDataReporter(
        sys.stdout, SAVE_EVERY, step=True, potentialEnergy=True, temperature=True, speed=True
    )
)
simulation.step(n_steps)
'''
