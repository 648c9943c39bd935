"""Map frames of atoms to frames of beads: positions, labels, and the virial about the beads' centres."""

import itertools
from dataclasses import replace

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.geometry import build_spanning_tree, largest_extent, make_whole, wrap
from beadsmith.linear_map import LinearMap
from beadsmith.mapping.record import Mapping
from beadsmith.topology import MoleculeKind, Topology, group_equal_molecules
from beadsmith.trajectory import Trajectory
from beadsmith.units import thermal_energy

# centres of mass built from the same masses agree to rounding; any other difference of weights is 1e-4 or more
_SAME_CENTRE = 1e-9


def build_molecule_tree(
    topology: Topology, kinds: tuple[MoleculeKind, ...] | None = None
) -> tuple[Int[np.ndarray, "_edges 2"], ...]:
    """Return the generations of bonds that join each molecule of a topology, for `geometry.make_whole`.

    Parameters
    ----------
    topology : The sites.
    kinds : Molecules to join; all if None.

    Raises
    ------
    InputError : bonds and constraints do not connect all atoms of a molecule.
    """
    joined = np.concatenate([topology.bonds, topology.constraints])
    generations: list[list[np.ndarray]] = []
    for kind in group_equal_molecules(topology) if kinds is None else kinds:
        first = int(kind.sites[0, 0])
        inside = joined[(joined[:, 0] >= first) & (joined[:, 0] < first + kind.sites.shape[1])] - first
        try:
            tree = build_spanning_tree(kind.sites.shape[1], inside)
        except InputError as error:
            raise InputError(error.what, where=f"molecule '{kind.name}'", fix=error.fix) from error
        generations.append([kind.sites[:, edges].reshape(-1, 2) for edges in tree])
    deepest = itertools.zip_longest(*generations, fillvalue=np.zeros((0, 2), dtype=np.int64))
    return tuple(np.concatenate(edges) for edges in deepest)


def map_trajectory(
    trajectory: Trajectory,
    mapping: Mapping,
    tree: tuple[Int[np.ndarray, "_edges 2"], ...],
    *,
    first_frame: int = 0,
) -> Trajectory:
    """Return the beads of all frames: molecules whole, the first bead of each in the cell.

    The virial becomes that of the centres which the beads' masses give (see `move_virial`). It is left out where some
    molecules have no bead: the pressure of the rest is not that of the reference.

    Parameters
    ----------
    trajectory : Atoms; molecules may be broken across the boundary.
    mapping : Maps and bead topology.
    tree : Bonds that join each molecule, from `build_molecule_tree`.
    first_frame : Number of the first frame in its file: the noise of a frame depends on its number alone.

    Raises
    ------
    InputError : a bead reaches across half the cell.
    """
    whole = make_whole(trajectory.positions, trajectory.cell, tree)
    if trajectory.cell is not None:
        _refuse_wide_beads(trajectory, whole, mapping)
    positions = mapping.position_map.apply(whole)
    forces, velocities = trajectory.forces, trajectory.velocities
    mapped_forces = None if forces is None else mapping.force_map.apply(forces)
    if mapping.noise_width is not None:
        noise = draw_noise(mapping.noise_seed, first_frame, positions.shape)
        positions += mapping.noise_width * noise
        if mapped_forces is not None:
            kT = thermal_energy(trajectory.state_point.temperature)
            mapped_forces += mapping.score_map.apply(-kT / mapping.noise_width * noise)
    return replace(
        trajectory,
        topology=mapping.topology,
        virial=move_virial(trajectory, mapping, whole, positions),
        positions=_wrap_molecules(positions, trajectory.cell, mapping.topology).astype(np.float32),
        forces=None if mapped_forces is None else mapped_forces.astype(np.float32),
        velocities=None if velocities is None else mapping.position_map.apply(velocities).astype(np.float32),
    )


def draw_noise(seed: int, first_frame: int, shape: tuple[int, ...]) -> Float[np.ndarray, "frames beads 3"]:
    """Return standard normal numbers, those of each frame from a stream of its own: no cut into chunks changes them."""
    streams = (np.random.Philox(key=np.array([seed, first_frame + k], dtype=np.uint64)) for k in range(shape[0]))
    return np.array([np.random.Generator(stream).standard_normal(shape[1:]) for stream in streams]).reshape(shape)


def move_virial(
    trajectory: Trajectory,
    mapping: Mapping,
    whole: Float[np.ndarray, "frames atoms 3"],
    positions: Float[np.ndarray, "frames beads 3"],
) -> Float[np.ndarray, "frames 3 3"] | None:
    """Return the molecular virial about the centres X' of the beads instead of the centres of mass X of the atoms.

    Under a strain every molecule moves rigidly with its centre, so that W' = W + Σ F ⊗ (X' - X) with the total force F
    on each molecule, symmetrised. Only about X', a function of the beads, does it have the virial of the potential of
    mean force as its conditional mean. None where the reference has no virial, or a molecule no bead.
    """
    if trajectory.virial is None or trajectory.forces is None:
        return None
    atoms, beads = trajectory.topology, mapping.topology
    if beads.n_molecules < atoms.n_molecules:
        return None
    atom_centres, bead_centres = _centre_map(atoms), _centre_map(beads)
    difference = bead_centres.matrix @ mapping.position_map.matrix - atom_centres.matrix
    if mapping.noise_width is None and np.abs(difference.data).max(initial=0.0) < _SAME_CENTRE:
        return trajectory.virial
    shifts = bead_centres.apply(positions) - atom_centres.apply(whole)
    totals = LinearMap(matrix=sparse.csr_array(atom_centres.matrix.sign()))
    moments = np.einsum("fmx,fmy->fxy", totals.apply(trajectory.forces), shifts)
    return trajectory.virial + 0.5 * (moments + moments.transpose(0, 2, 1))


def _centre_map(topology: Topology) -> LinearMap:
    """Return the map from sites to the centres of mass of their molecules."""
    molecule = topology.molecule_index
    fractions = topology.masses / np.bincount(molecule, topology.masses)[molecule]
    entries = (fractions, (molecule, np.arange(topology.n_sites)))
    return LinearMap(matrix=sparse.csr_array(entries, shape=(topology.n_molecules, topology.n_sites)))


def _wrap_molecules(
    positions: Float[np.ndarray, "frames beads 3"], cell: Float[np.ndarray, "frames 3 3"] | None, topology: Topology
) -> Float[np.ndarray, "frames beads 3"]:
    """Return positions with every molecule moved by whole cell vectors so that its first bead is in the cell."""
    first_beads = positions[:, np.flatnonzero(np.diff(topology.molecule_index, prepend=-1))]
    return positions - (first_beads - wrap(first_beads, cell))[:, topology.molecule_index]


def _refuse_wide_beads(trajectory: Trajectory, whole: Float[np.ndarray, "frames atoms 3"], mapping: Mapping) -> None:
    """Refuse beads whose atoms reach across half the cell: their images could not be told apart."""
    assert trajectory.cell is not None
    carriers = mapping.position_map.matrix
    if carriers.nnz == carriers.shape[0]:
        return
    extent = largest_extent(whole[:, carriers.indices], trajectory.cell, carriers.indptr[:-1])
    widest = int(np.argmax(extent))
    if extent[widest] < 0.5:
        return
    topology = mapping.topology
    residue = topology.residue_names[topology.residue_index[widest]]
    raise InputError(
        f"bead {widest} ('{topology.names[widest]}' of '{residue}') reaches across {extent[widest]:.2f} of the cell, "
        f"expected less than 0.5, between {trajectory.times[0]:g} and {trajectory.times[-1]:g} ps",
        fix="Use a larger box or smaller beads. If the box is large enough, check the bonds of the topology and the "
        "unit of the cell.",
    )
