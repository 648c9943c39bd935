"""One small exact ensemble, written in the formats of other programs.

Waters held together by springs between all three atoms, about a fixed shape: the distribution is a Gaussian that can
be drawn exactly, and the forces are known in closed form. The waters do not see each other; each is tied to a place.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy.io import netcdf_file
from scipy.spatial.transform import Rotation

from beadsmith.units import ANGSTROM, FEMTOSECOND, KILOCALORIE_PER_MOL, thermal_energy

TEMPERATURE = 300.0
MASSES = np.array([15.999, 1.008, 1.008])
_SHAPE = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [-0.025, 0.0968, 0.0]])
# kJ/mol/nm^2: O-H stiff, H-H softer
_SPRINGS = {(0, 1): 3e5, (0, 2): 3e5, (1, 2): 1e5}
_SPACING = 0.5
_TETHER_WIDTH = 0.04


@dataclass(frozen=True)
class Frames:
    """Frames in nm, kJ/mol/nm, nm/ps and ps; molecules are cut by the boundary."""

    positions: np.ndarray
    forces: np.ndarray
    velocities: np.ndarray
    cell: np.ndarray
    times: np.ndarray
    whole: np.ndarray

    @property
    def n_frames(self):
        return len(self.times)

    @property
    def n_atoms(self):
        return self.positions.shape[1]


def spring_waters(n_molecules=8, n_frames=40, seed=1, *, is_rigid=False):
    """Return frames of elastic waters at 300 K, turned at random and tethered to a cubic lattice."""
    generator = np.random.default_rng(seed)
    stiffness = np.zeros((3, 3))
    for (i, j), spring in _SPRINGS.items():
        bond = np.zeros(3)
        bond[[i, j]] = 1.0, -1.0
        stiffness += spring * np.outer(bond, bond)
    eigenvalues, modes = np.linalg.eigh(stiffness)
    # the first mode moves the molecule as a whole
    widths = np.concatenate([[0.0], np.sqrt(thermal_energy(TEMPERATURE) / eigenvalues[1:])])
    shape = (n_frames, n_molecules, 3, 3)
    if is_rigid:
        # the constraint forces are in no file
        widths = np.zeros(3)
    displacements = np.einsum("ik,k,fmkx->fmix", modes, widths, generator.normal(size=shape))
    turns = Rotation.random(n_frames * n_molecules, rng=generator).as_matrix().reshape(shape)
    per_edge = int(np.ceil(n_molecules ** (1.0 / 3.0)))
    lattice = np.stack(np.meshgrid(*[np.arange(per_edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_molecules]
    shifts = _TETHER_WIDTH * generator.normal(size=(n_frames, n_molecules, 1, 3))
    tether = thermal_energy(TEMPERATURE) / _TETHER_WIDTH**2
    edge = per_edge * _SPACING
    centred = _SHAPE - _SHAPE.mean(axis=0) + displacements
    whole = np.einsum("fmix,fmxy->fmiy", centred, turns) + _SPACING * lattice[:, None] + shifts
    # the tether pulls at the mean of the three positions, so a third of it acts on each atom
    forces = np.einsum("ij,fmjx,fmxy->fmiy", -stiffness, displacements, turns) - tether * shifts / 3.0
    speeds = np.sqrt(thermal_energy(TEMPERATURE) / MASSES)[:, None]
    n_atoms = 3 * n_molecules
    return Frames(
        positions=np.mod(whole, edge).reshape(n_frames, n_atoms, 3),
        forces=forces.reshape(n_frames, n_atoms, 3),
        velocities=(speeds * generator.normal(size=shape)).reshape(n_frames, n_atoms, 3),
        cell=np.broadcast_to(edge * np.eye(3), (n_frames, 3, 3)).copy(),
        times=0.2 * np.arange(n_frames),
        whole=whole.reshape(n_frames, n_atoms, 3),
    )


def write_trr(path, frames, *, forces=True, forces_every=1):
    from MDAnalysis.lib.formats.libmdaxdr import TRRFile

    single = np.float32
    with TRRFile(str(path), "w") as file:
        for k in range(frames.n_frames):
            has = forces and k % forces_every == 0
            file.write(
                frames.positions[k].astype(single),
                frames.velocities[k].astype(single),
                frames.forces[k].astype(single) if has else None,
                frames.cell[k].astype(single),
                k,
                frames.times[k],
                0.0,
                frames.n_atoms,
            )


def write_xtc(path, frames):
    from MDAnalysis.lib.formats.libmdaxdr import XTCFile

    with XTCFile(str(path), "w") as file:
        for k in range(frames.n_frames):
            file.write(
                frames.positions[k].astype(np.float32), frames.cell[k].astype(np.float32), k, frames.times[k], 1e4
            )


def write_dcd(path, values, cell=None):
    """Write positions or forces as they are; a cell in angstrom."""
    from MDAnalysis.lib.formats.libdcd import DCDFile

    with DCDFile(str(path), "w") as file:
        file.write_header(
            remarks="", natoms=values.shape[1], istart=0, nsavc=1, delta=1.0, is_periodic=int(cell is not None)
        )
        for k, value in enumerate(values):
            edges = np.diag(cell[k]) if cell is not None else np.zeros(3)
            file.write(value.astype(np.float32), np.array([edges[0], 90.0, edges[1], 90.0, 90.0, edges[2]]))


def write_gro(path, frames):
    lines = ["water", str(frames.n_atoms)]
    for atom, position in enumerate(frames.positions[0]):
        name = ("OW", "HW1", "HW2")[atom % 3]
        coordinates = "".join(f"{value:8.3f}" for value in position)
        lines.append(f"{atom // 3 + 1:5d}{'SOL':<5}{name:>5}{atom + 1:5d}{coordinates}")
    lines.append("".join(f"{edge:10.5f}" for edge in np.diag(frames.cell[0])))
    Path(path).write_text("\n".join(lines) + "\n")


def write_lammps(path, frames, *, columns="fz id type xs mol ys zs fx fy", units=True, seed=5):
    """Write a dump in real units, columns as given and rows in random order."""
    generator = np.random.default_rng(seed)
    with Path(path).open("w") as file:
        for k in range(frames.n_frames):
            edge = frames.cell[k, 0, 0] / ANGSTROM
            if units and k == 0:
                file.write("ITEM: UNITS\nreal\n")
            file.write(f"ITEM: TIMESTEP\n{100 * k}\nITEM: NUMBER OF ATOMS\n{frames.n_atoms}\n")
            file.write("ITEM: BOX BOUNDS pp pp pp\n" + f"{-edge / 2:.10g} {edge / 2:.10g}\n" * 3)
            file.write(f"ITEM: ATOMS {columns}\n")
            # the box is centred on the origin, as many LAMMPS inputs have it
            positions = frames.positions[k] / ANGSTROM - edge / 2
            forces = frames.forces[k] * ANGSTROM / KILOCALORIE_PER_MOL
            velocities = frames.velocities[k] * FEMTOSECOND / ANGSTROM
            for atom in generator.permutation(frames.n_atoms):
                row = {"id": atom + 1, "type": 1 if atom % 3 == 0 else 2, "mol": atom // 3 + 1}
                row |= {f"{axis}": positions[atom, n] for n, axis in enumerate("xyz")}
                row |= {f"{axis}s": positions[atom, n] / edge + 0.5 for n, axis in enumerate("xyz")}
                row |= {f"v{axis}": velocities[atom, n] for n, axis in enumerate("xyz")}
                row |= {f"f{axis}": forces[atom, n] for n, axis in enumerate("xyz")}
                file.write(" ".join(f"{row[column]:.9g}" for column in columns.split()) + "\n")


def write_lammps_data(path, frames):
    n_molecules = frames.n_atoms // 3
    lines = ["waters", "", f"{frames.n_atoms} atoms", "2 atom types", f"{2 * n_molecules} bonds", "1 bond types", ""]
    lines += [f"0 {frames.cell[0, 0, 0] / ANGSTROM} {axis}lo {axis}hi" for axis in "xyz"]
    lines += ["", "Masses", "", "1 15.999", "2 1.008", "", "Atoms # full", ""]
    for atom, position in enumerate(frames.positions[0] / ANGSTROM):
        kind = 1 if atom % 3 == 0 else 2
        lines.append(f"{atom + 1} {atom // 3 + 1} {kind} 0.0 " + " ".join(f"{value:.6f}" for value in position))
    lines += ["", "Bonds", ""]
    for molecule in range(n_molecules):
        lines += [f"{2 * molecule + k} 1 {3 * molecule + 1} {3 * molecule + 1 + k}" for k in (1, 2)]
    Path(path).write_text("\n".join(lines) + "\n")


def write_amber(path, frames):
    """Write an AMBER NetCDF file: angstrom, kcal/mol/angstrom, velocities with AMBER's scale factor."""
    with netcdf_file(str(path), "w", version=2) as file:
        file.Conventions, file.ConventionVersion, file.program = "AMBER", "1.0", "test"
        file.programVersion = "1"
        for name, size in (("frame", None), ("spatial", 3), ("atom", frames.n_atoms), ("cell_spatial", 3)):
            file.createDimension(name, size)
        file.createDimension("cell_angular", 3)

        def add(name, kind, dimensions, unit, values):
            variable = file.createVariable(name, kind, dimensions)
            variable.units = unit
            variable[:] = values
            return variable

        add("time", "f4", ("frame",), "picosecond", frames.times)
        add("coordinates", "f4", ("frame", "atom", "spatial"), "angstrom", frames.positions / ANGSTROM)
        scaled = frames.velocities / ANGSTROM / 20.455
        add("velocities", "f4", ("frame", "atom", "spatial"), "angstrom/picosecond", scaled).scale_factor = 20.455
        in_kcal = frames.forces * ANGSTROM / KILOCALORIE_PER_MOL
        add("forces", "f4", ("frame", "atom", "spatial"), "kilocalorie/mole/angstrom", in_kcal)
        edges = np.diagonal(frames.cell, axis1=1, axis2=2) / ANGSTROM
        add("cell_lengths", "f8", ("frame", "cell_spatial"), "angstrom", edges)
        add("cell_angles", "f8", ("frame", "cell_angular"), "degree", np.full((frames.n_frames, 3), 90.0))


def write_h5md(path, frames, *, units=True, forces=True):
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = np.array([1, 1])
        group = file.create_group("particles/all")
        box = group.create_group("box")
        box.attrs["dimension"], box.attrs["boundary"] = 3, np.array(["periodic"] * 3, dtype="S8")
        entries = {"position": (frames.positions / ANGSTROM, "Angstrom")}
        if forces:
            entries["force"] = (frames.forces * ANGSTROM, "kJ mol-1 Angstrom-1")
        entries["box/edges"] = (frames.cell / ANGSTROM, "Angstrom")
        for name, (values, unit) in entries.items():
            element = group.create_group(name)
            element["step"], element["time"], element["value"] = np.arange(frames.n_frames), frames.times, values
            element["time"].attrs["unit"] = "ps"
            if units:
                element["value"].attrs["unit"] = unit


def write_extxyz(path, frames):
    """Write angstrom and eV/angstrom, the convention of the format."""
    in_ev = frames.forces * ANGSTROM / 96.48533212331001
    with Path(path).open("w") as file:
        for k in range(frames.n_frames):
            cell = " ".join(f"{value:.8g}" for value in (frames.cell[k] / ANGSTROM).ravel())
            file.write(f'{frames.n_atoms}\nLattice="{cell}" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T"\n')
            for atom in range(frames.n_atoms):
                numbers = [*(frames.positions[k, atom] / ANGSTROM), *in_ev[k, atom]]
                file.write("OHH"[atom % 3] + " " + " ".join(f"{value:.9g}" for value in numbers) + "\n")


def write_pdb(path, frames):
    edges = np.diag(frames.cell[0]) / ANGSTROM
    lines = ["CRYST1" + "".join(f"{edge:9.3f}" for edge in edges) + "  90.00  90.00  90.00 P 1           1"]
    for atom, position in enumerate(frames.positions[0] / ANGSTROM):
        name = ("O", "H1", "H2")[atom % 3]
        lines.append(
            f"ATOM  {atom + 1:5d}  {name:<3} HOH A{atom // 3 + 1:4d}    "
            + "".join(f"{value:8.3f}" for value in position)
            + f"  1.00  0.00          {name[0]:>2}"
        )
    Path(path).write_text("\n".join(lines) + "\nEND\n")


def write_psf(path, frames):
    n_molecules = frames.n_atoms // 3
    lines = ["PSF", "", "       1 !NTITLE", " REMARKS waters", "", f"{frames.n_atoms:8d} !NATOM"]
    for atom in range(frames.n_atoms):
        name, kind, mass = (("OH2", "OT", 15.9994), ("H1", "HT", 1.008), ("H2", "HT", 1.008))[atom % 3]
        lines.append(
            f"{atom + 1:8d} W    {atom // 3 + 1:<4d} TIP3 {name:<4} {kind:<4} {0.0:10.6f}     {mass:9.4f}           0"
        )
    lines += ["", f"{2 * n_molecules:8d} !NBOND: bonds"]
    pairs = [pair for m in range(n_molecules) for pair in ((3 * m + 1, 3 * m + 2), (3 * m + 1, 3 * m + 3))]
    for start in range(0, len(pairs), 4):
        lines.append("".join(f"{site:8d}" for pair in pairs[start : start + 4] for site in pair))
    for section in ("NTHETA: angles", "NPHI: dihedrals", "NIMPHI: impropers", "NDON: donors", "NACC: acceptors"):
        lines += ["", f"{0:8d} !{section}", ""]
    Path(path).write_text("\n".join(lines) + "\n\n")


def write_top(path, frames):
    """Write a GROMACS topology that includes a force field which is not there."""
    Path(path).write_text(
        '#include "somewhere.ff/forcefield.itp"\n\n[ moleculetype ]\nSOL 2\n\n[ atoms ]\n'
        "1 OW 1 SOL OW 1 -0.8 15.999\n2 HW 1 SOL HW1 1 0.4 1.008\n3 HW 1 SOL HW2 1 0.4 1.008\n\n"
        "[ bonds ]\n1 2 1 0.1 3e5\n1 3 1 0.1 3e5\n\n[ system ]\nwaters\n\n[ molecules ]\n"
        f"SOL {frames.n_atoms // 3}\n"
    )


def write_npz(path, frames):
    np.savez(path, coords=frames.positions, Fs=frames.forces, box=frames.cell)
