"""Where a simulation starts: frames of a trajectory, a frame replicated, or molecules placed at a density.

All that a start needs beside positions (bead types, masses, molecule templates) comes from the force field, so no
file of the training run is needed.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, adopt_topology
from beadsmith.geometry import build_spanning_tree, make_whole
from beadsmith.io.h5md import open_trajectory
from beadsmith.simulation.dispersion import choose_dispersed
from beadsmith.simulation.noise import PLACEMENT, draw_normals
from beadsmith.topology import Topology, group_equal_molecules
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import Unit

_TERMS = ("bonds", "angles", "dihedrals", "impropers", "constraints")
_LATTICES = {
    "simple cubic": np.array([[0.0, 0.0, 0.0]]),
    "body-centred cubic": np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
    "face-centred cubic": np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]),
}
_EVENLY = "Use 'start: evenly'."
_MOST_CANDIDATES = 10000
_NEAREST = {"simple cubic": 1.0, "body-centred cubic": 0.75**0.5, "face-centred cubic": 0.5**0.5}
"""Nearest-neighbour distance of each lattice in units of its cell."""


@dataclass(frozen=True, kw_only=True)
class FileStart:
    """Start from frames of a trajectory file at bead resolution."""

    path: Path
    """Trajectory written by 'beadsmith map' or 'beadsmith simulate'."""
    frame: int | None = None
    """Frame of all replicas, negative from the end; None spreads the replicas over the file up to its last frame."""
    repeats: tuple[int, int, int] = (1, 1, 1)
    """Copies of the frame along each cell vector."""
    velocities: Literal["draw", "file"] = "draw"
    """Maxwell-Boltzmann velocities, or those of the frame."""

    def __post_init__(self) -> None:
        """Check the repeats.

        Raises
        ------
        InputError : a number of copies is below 1.
        """
        if min(self.repeats) < 1:
            raise InputError(f"'repeats' is {self.repeats}, expected at least one copy along each cell vector")


@dataclass(frozen=True, kw_only=True)
class CountStart:
    """Start from single-bead molecules on a lattice in a cubic cell, in random order, relaxed before the first step."""

    counts: dict[str, int]
    """Number of molecules of each kind."""
    density: Annotated[float, Unit("u/nm**3")]
    """Mass density."""

    def __post_init__(self) -> None:
        """Check numbers and density.

        Raises
        ------
        InputError : there is no molecule, a negative number of them, or a density that is not positive.
        """
        if sum(self.counts.values()) < 1 or min(self.counts.values()) < 0:
            raise InputError(f"'counts' is {self.counts}, expected at least one molecule")
        if not (np.isfinite(self.density) and self.density > 0.0):
            raise InputError(f"'density' is {self.density} u/nm^3, expected > 0")


StartChoice = Literal["evenly", "dispersed"]
"""Which frames of a trajectory replicas start from: evenly spread over its time, or with shapes far apart."""

Start = Trajectory | FileStart | CountStart
"""A trajectory in memory starts like a file without options."""


def choose_start_frames(
    start: Start, *, n_replicas: int, choice: StartChoice = "evenly"
) -> Int[np.ndarray, "replicas"] | None:
    """Return the number of the frame that each replica starts from, or None where molecules are placed.

    A frame is used again only when there are too few. Dispersed starts are chosen among at most 10,000 frames, evenly
    spread over the trajectory; see `beadsmith.simulation.dispersion.choose_dispersed`.

    Raises
    ------
    InputError : the start has no such frame, or dispersed starts are asked of anything but several frames of one
        molecule.
    """
    if isinstance(start, CountStart):
        if choice == "dispersed":
            raise InputError("dispersed starts are frames of a trajectory, but molecules are to be placed", fix=_EVENLY)
        return None
    if isinstance(start, FileStart):
        where, frame = str(start.path), start.frame
        with open_trajectory(start.path) as stored:
            if choice == "evenly":
                return _choose_frames(stored.n_frames, frame, n_replicas, where=where)
            candidates = _choose_frames(stored.n_frames, None, min(stored.n_frames, _MOST_CANDIDATES), where=where)
            frames = stored.read(candidates)
    else:
        where, frame = "start", None
        if choice == "evenly":
            return _choose_frames(start.n_frames, None, n_replicas, where=where)
        candidates = _choose_frames(start.n_frames, None, min(start.n_frames, _MOST_CANDIDATES), where=where)
        frames = start.select(candidates)
    n_molecules = frames.topology.n_molecules
    if frame is not None:
        raise InputError(f"dispersed starts are many frames, but frame {frame} is asked for", where=where, fix=_EVENLY)
    if n_molecules != 1 or frames.n_sites < 2:
        raise InputError(
            "dispersed starts compare shapes of one molecule of several beads, but the start has "
            f"{n_molecules} molecules of {frames.n_sites} beads together",
            where=where,
            fix=_EVENLY,
        )
    return np.asarray(candidates[choose_dispersed(_make_molecules_whole(frames), n_replicas)])


def build_start(
    start: Start,
    force_field: ForceField,
    *,
    temperature: float,
    n_replicas: int,
    seed: int,
    chosen: Int[np.ndarray, "replicas"] | None = None,
) -> Trajectory:
    """Return one start frame for each replica, with the bead types and masses of the force field.

    Parameters
    ----------
    start : Where the frames come from.
    force_field : Names the bead types, their masses and the molecule templates.
    temperature : Temperature of the simulation [K]; it becomes the state point of the result.
    n_replicas : Number of frames to return; a frame is used again only when there are too few.
    seed : Seed of a random placement.
    chosen : Frame of each replica, as `choose_start_frames` returns them; evenly over the trajectory if None.

    Raises
    ------
    InputError : the file cannot be read, has no such frame or no cell to replicate, or holds molecules that the force
        field does not know.
    """
    if isinstance(start, CountStart):
        return _place_molecules(start, force_field, temperature=temperature, n_replicas=n_replicas, seed=seed)
    chosen = choose_start_frames(start, n_replicas=n_replicas) if chosen is None else chosen
    if isinstance(start, FileStart):
        with open_trajectory(start.path) as stored:
            frames = stored.read(chosen)
        if start.velocities == "draw":
            frames = replace(frames, velocities=None)
        elif frames.velocities is None:
            raise InputError("the start file has no velocities", where=str(start.path), fix="Use velocities: draw.")
        where, repeats = f"'{start.path}'", start.repeats
    else:
        assert chosen is not None
        frames = replace(start.select(chosen), velocities=None)
        where, repeats = "start trajectory", (1, 1, 1)
    topology = adopt_topology(frames.topology, force_field, where=where)
    frames = Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=temperature),
        positions=_make_molecules_whole(frames),
        times=np.zeros(frames.n_frames),
        velocities=frames.velocities,
        cell=frames.cell,
    )
    return _with_density(replicate(frames, repeats) if repeats != (1, 1, 1) else frames)


def replicate(trajectory: Trajectory, repeats: tuple[int, int, int]) -> Trajectory:
    """Return every frame repeated along its cell vectors, without velocities.

    Raises
    ------
    InputError : the trajectory has no periodic cell.
    """
    if trajectory.cell is None:
        raise InputError("an open system cannot be replicated: it has no periodic cell")
    shifts = np.stack(np.meshgrid(*(np.arange(n) for n in repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = shifts @ trajectory.cell.astype(np.float64)
    positions = trajectory.positions[:, None] + offsets[:, :, None]
    return replace(
        trajectory,
        topology=join_topologies([trajectory.topology] * len(shifts)),
        positions=positions.reshape(trajectory.n_frames, -1, 3).astype(np.float32),
        velocities=None,
        cell=trajectory.cell * np.array(repeats, dtype=trajectory.cell.dtype)[:, None],
    )


def join_topologies(parts: list[Topology]) -> Topology:
    """Return the sites of several topologies of one list of types as one system, in order."""
    sites = np.cumsum([0] + [part.n_sites for part in parts])
    molecules = np.cumsum([0] + [part.n_molecules for part in parts])
    residues = np.cumsum([0] + [len(part.residue_names) for part in parts])

    def joined(name: str, offsets: np.ndarray | None = None) -> np.ndarray:
        shift = np.zeros(len(parts), dtype=np.int64) if offsets is None else offsets
        return np.concatenate([getattr(part, name) + by for part, by in zip(parts, shift, strict=False)])

    return Topology(
        names=tuple(name for part in parts for name in part.names),
        types=joined("types"),
        type_names=parts[0].type_names,
        masses=np.concatenate([part.masses for part in parts]),
        molecule_index=joined("molecule_index", molecules),
        residue_index=joined("residue_index", residues),
        residue_names=tuple(name for part in parts for name in part.residue_names),
        bonds=joined("bonds", sites),
        angles=joined("angles", sites),
        dihedrals=joined("dihedrals", sites),
        impropers=joined("impropers", sites),
        constraints=joined("constraints", sites),
    )


def _choose_frames(n_frames: int, frame: int | None, n_replicas: int, where: str) -> Int[np.ndarray, "replicas"]:
    if n_frames == 0:
        raise InputError("the start has no frame", where=where)
    if frame is None:
        # one replica starts from the last frame, several are spread evenly up to it
        return np.maximum(np.ceil(np.arange(1, n_replicas + 1) * n_frames / n_replicas).astype(np.int64) - 1, 0)
    if not -n_frames <= frame < n_frames:
        raise InputError(f"frame {frame} does not exist: the start has {n_frames} frames", where=where)
    return np.full(n_replicas, frame % n_frames)


def _make_molecules_whole(frames: Trajectory) -> Float[np.ndarray, "frames sites 3"]:
    """Return positions without broken bonds: molecular virials and wrapping by molecules want whole molecules."""
    topology = frames.topology
    if topology.n_molecules == topology.n_sites:
        return frames.positions
    edges = []
    for kind in group_equal_molecules(topology):
        number = {site: local for local, site in enumerate(kind.sites[0].tolist())}
        inside = np.isin(topology.bonds[:, 0], kind.sites[0])
        bonds = np.array([[number[a], number[b]] for a, b in topology.bonds[inside].tolist()], dtype=np.int64)
        for generation in build_spanning_tree(kind.sites.shape[1], bonds.reshape(-1, 2)):
            edges.append(kind.sites[:, generation].reshape(-1, 2))
    return make_whole(frames.positions, frames.cell, tuple(edges)).astype(np.float32)


def _with_density(frames: Trajectory) -> Trajectory:
    if frames.cell is None:
        return frames
    density = frames.topology.total_mass / float(frames.volumes().mean())
    return replace(frames, state_point=replace(frames.state_point, density=density))


def _place_molecules(
    start: CountStart, force_field: ForceField, *, temperature: float, n_replicas: int, seed: int
) -> Trajectory:
    templates = {template.residue_names[0]: template for template in force_field.record.templates}
    for name in start.counts:
        if name not in templates:
            raise InputError(
                f"the force field has no molecule '{name}'; it knows {', '.join(templates)}", where="counts"
            )
        if templates[name].n_sites != 1:
            raise InputError(
                f"molecule '{name}' has {templates[name].n_sites} beads; only single beads can be placed at a density",
                where="counts",
                fix="Start from a frame of a trajectory, and replicate it for a larger system.",
            )
    topology = join_topologies([templates[name] for name, count in start.counts.items() for _ in range(count)])
    length = (topology.total_mass / start.density) ** (1.0 / 3.0)
    points = _lattice_points(topology.n_sites) * length
    spacing = (length**3 / topology.n_sites) ** (1.0 / 3.0)
    frames = []
    for replica in range(n_replicas):
        # equal noise for the order of the sites, then a thermal blur of 2 % of the spacing
        keys, blur = np.split(draw_normals(seed, PLACEMENT, replica=replica, index=0, shape=(2 * len(points), 3)), 2)
        order = np.argsort(keys[:, 0])[: topology.n_sites]
        frames.append(points[order] + 0.02 * spacing * blur[: topology.n_sites])
    return Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=temperature, density=start.density),
        positions=np.array(frames, dtype=np.float32),
        times=np.zeros(n_replicas),
        cell=np.repeat((length * np.eye(3, dtype=np.float32))[None], n_replicas, axis=0),
    )


def _lattice_points(n_sites: int) -> Float[np.ndarray, "points 3"]:
    """Return at least n_sites fractional points, of the cubic lattice with the widest spacing."""
    n_cells = {name: int(np.ceil((n_sites / len(basis)) ** (1 / 3) - 1e-9)) for name, basis in _LATTICES.items()}
    best = max(_LATTICES, key=lambda name: _NEAREST[name] / n_cells[name])
    n = n_cells[best]
    corners = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    return ((corners + _LATTICES[best]) / n).reshape(-1, 3)
