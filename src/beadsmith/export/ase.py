"""ASE: a force field as a calculator (eV and Å), and a folder with a script that runs it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from beadsmith.errors import InputError
from beadsmith.export.evaluator import Precision, build_evaluator
from beadsmith.export.folder import read_start, write_export_folder
from beadsmith.force_field import ForceField, load_force_field
from beadsmith.trajectory import Trajectory
from beadsmith.units import ANGSTROM, ELECTRONVOLT

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

SCRIPT = "run_ase.py"

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def build_ase_calculator(
    force_field: ForceField,
    frame: Trajectory,
    *,
    temperature: float | None = None,
    precision: Precision = "float32",
    device: torch.device | str = "cpu",
) -> "Calculator":
    """Return an ASE calculator of energy [eV], free energy, forces [eV/Å] and stress [eV/Å³] for the beads of a frame.

    The stress is minus the molecular virial over the volume, which is ASE's derivative with respect to strain only
    while every molecule is one bead; with larger molecules no stress is offered.

    Parameters
    ----------
    force_field : Force field; it is copied.
    frame : Names the beads, in the order of the atoms.
    temperature : Temperature [K] of a force field that depends on it; of no meaning for others.
    precision : Precision of energies and forces.
    device : Where to compute.

    Raises
    ------
    InputError : ASE is not installed, the frame does not fit the force field, or it depends on temperature and none is
        given.
    """
    calculators = _import_ase().calculators.calculator
    evaluate = build_evaluator(force_field, frame, temperature=temperature, precision=precision, device=device)
    has_stress = frame.topology.n_molecules == frame.n_sites
    properties = ["energy", "free_energy", "forces"] + (["stress"] if has_stress else [])

    class BeadsmithCalculator(calculators.Calculator):  # type: ignore[name-defined]  # made from an optional import
        implemented_properties = properties

        def calculate(
            self, atoms: "Atoms | None" = None, properties: Any = ("energy",), system_changes: Any = ()
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            self.results = _evaluate_atoms(evaluate, self.atoms, n_sites=frame.n_sites, has_stress=has_stress)

    return BeadsmithCalculator()


def build_ase_atoms(frame: Trajectory) -> "Atoms":
    """Return the first frame as ASE atoms: symbol X, the bead type as tag, bead masses.

    Raises
    ------
    InputError : ASE is not installed.
    """
    ase = _import_ase()
    return ase.Atoms(
        symbols=["X"] * frame.n_sites,
        positions=frame.positions[0].astype(float) / ANGSTROM,
        cell=None if frame.cell is None else frame.cell[0].astype(float) / ANGSTROM,
        pbc=frame.cell is not None,
        masses=frame.topology.masses,
        tags=frame.topology.types,
    )


def export_ase(
    force_field_folder: Path, start: Path, output: Path, *, frame: int = -1, temperature: float | None = None
) -> Path:
    """Write a folder with a script that runs a force field in ASE, and everything the script needs.

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
    return write_export_folder(
        output, SCRIPT, force_field=force_field, start=frames, temperature=temperature, template=_TEMPLATE
    )


def _evaluate_atoms(evaluate: Any, atoms: "Atoms", *, n_sites: int, has_stress: bool) -> dict[str, Any]:
    """Return ASE's results for atoms; cell and positions in Å.

    Raises
    ------
    InputError : another number of atoms, or a cell that is periodic in some directions only.
    """
    if len(atoms) != n_sites:
        raise InputError(f"the calculator was made for {n_sites} beads, the atoms are {len(atoms)}")
    if atoms.pbc.any() and not atoms.pbc.all():
        raise InputError(f"pbc is {atoms.pbc.tolist()}, expected periodic in all directions or in none")
    cell = np.asarray(atoms.cell.array) * ANGSTROM if atoms.pbc.all() else None
    prediction = evaluate(atoms.positions * ANGSTROM, cell)
    energy = float(prediction.energy[0]) / ELECTRONVOLT
    results: dict[str, Any] = {
        "energy": energy,
        "free_energy": energy,
        "forces": prediction.forces.double().cpu().numpy() * (ANGSTROM / ELECTRONVOLT),
    }
    if has_stress and cell is not None:
        stress = -prediction.virial[0].cpu().numpy() / abs(np.linalg.det(cell)) * (ANGSTROM**3 / ELECTRONVOLT)
        results["stress"] = np.array([stress[row, column] for row, column in _VOIGT])
    return results


def _import_ase() -> Any:
    try:
        import ase
        import ase.calculators.calculator
    except ImportError as error:
        raise InputError("ASE is not installed", fix="Install it: pip install 'beadsmith[ase]'.") from error
    return ase


_TEMPLATE = '''\
"""Run a beadsmith force field in ASE: python run_ase.py [number of steps]

Needs beadsmith with its extra 'ase'. Reads force_field/ and start.h5 beside this script; writes trajectory.traj and
prints energy and temperature. Written by beadsmith $version.
"""

import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from beadsmith.export.ase import build_ase_atoms, build_ase_calculator
from beadsmith.force_field import load_force_field
from beadsmith.io.h5md import read_trajectory

TEMPERATURE = $temperature  # K
FRICTION = 0.002 / units.fs
TIMESTEP = 5.0 * units.fs
SAVE_EVERY = 40
SEED = 1

folder = Path(__file__).parent
n_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
start = read_trajectory(folder / "start.h5")
atoms = build_ase_atoms(start)
force_field = load_force_field(folder / "force_field")
atoms.calc = build_ase_calculator(force_field, start, temperature=TEMPERATURE)
random = np.random.RandomState(SEED)
MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=random)
dynamics = Langevin(atoms, TIMESTEP, temperature_K=TEMPERATURE, friction=FRICTION, fixcm=False, rng=random)
with Trajectory(str(folder / "trajectory.traj"), "w", atoms) as trajectory:
    dynamics.attach(trajectory.write, interval=SAVE_EVERY)
    dynamics.attach(
        lambda: print(
            f"step {dynamics.nsteps}  energy {atoms.get_potential_energy():.4f} eV"
            f"  temperature {atoms.get_temperature():.1f} K"
        ),
        interval=SAVE_EVERY,
    )
    dynamics.run(n_steps)
'''
