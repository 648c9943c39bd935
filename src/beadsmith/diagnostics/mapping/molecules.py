"""What is measured on one kind of molecule: its symmetry, its hands, and the noise of its forces."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.atom_graph import (
    AtomGraph,
    find_lost_stereocentres,
    find_stereocentres,
    label_beads,
    read_atom_graph,
)
from beadsmith.analysis.blocks import divide_frames
from beadsmith.analysis.exchanges import Exchange, find_exchanges
from beadsmith.analysis.force_noise import ForceNoise, measure_force_noise
from beadsmith.analysis.graph_symmetry import (
    compute_log_copies,
    count_automorphisms,
    list_neighbours,
    refine_until_stable,
)
from beadsmith.analysis.mirror_images import Asymmetry, measure_asymmetries
from beadsmith.analysis.stereocentres import CentreMeasurement, find_centres, measure_centre
from beadsmith.mapping.graph_types import describe_fragments, name_graph_types, refine_colors
from beadsmith.topology import MoleculeKind, Topology
from beadsmith.trajectory import Trajectory

_N_BLOCKS = 20

DEEPEST = 20
"""Largest depth of graph types that a configuration may ask for."""


@dataclass(frozen=True, kw_only=True)
class LabelSurvey:
    """How many arrangements of its sites a molecule's types confuse, and which labels would not."""

    log_copies: float
    """Decadic logarithm of the number of arrangements with one energy of types and distances, the native one
    included."""
    log_copies_with_bonds: float
    """The same where bonds are known, too."""
    needed: tuple[int, ...]
    """The fewest labels that leave no copies that labels can remove: number of the label of each bead."""
    by_depth: tuple[tuple[int, ...], ...]
    """Label of each bead that graph types give, for every depth from 0 to where no label splits any more."""
    exchanges: tuple[Exchange, ...]
    """Exchanges of two beads of one type, the least told apart first."""


@dataclass(frozen=True, kw_only=True)
class MoleculeSurvey:
    """Everything measured on the copies of one kind of molecule."""

    molecules: MoleculeKind
    """The copies."""
    beads: tuple[str, ...]
    """Beads as NUMBER:RESIDUE:NAME."""
    types: tuple[str, ...]
    """Type of each bead."""
    bonds: Int[np.ndarray, "bonds 2"]
    """Bonded pairs of beads, counted within the molecule."""
    has_impropers: bool
    """Whether it has impropers, which a prior can hold."""
    has_atoms: bool
    """Whether the file says what the beads are made of."""
    labels: LabelSurvey | None
    """Symmetry; None for molecules of one bead."""
    asymmetries: tuple[Asymmetry, ...]
    """Distributions against their reflections, the most different first."""
    centres: dict[str, CentreMeasurement]
    """Signed improper of each bead with three or more bonded beads, all different chemically."""
    with_improper: tuple[str, ...]
    """Those of these beads whose signed improper is a term of the topology, which a prior can hold."""
    n_stereocentres: int
    """Stereocentres of the atoms; 0 where the atoms are not known."""
    lost: tuple[str, ...]
    """Stereocentres of the atoms whose hand the beads cannot show."""
    noise: tuple[ForceNoise, ...]
    """Force and noise of each bead."""
    n_labels: tuple[int, ...]
    """Number of forces in the file on beads of the type of each bead in this kind of molecule."""
    layout: Float[np.ndarray, "beads 2"]
    """Places of the beads in a picture [nm]."""


def survey_molecule(
    frames: Trajectory, whole: Float[np.ndarray, "frames sites 3"], kind: MoleculeKind, metadata: dict[str, Any]
) -> MoleculeSurvey:
    """Return what the frames say about one kind of molecule.

    Parameters
    ----------
    frames : Mapped frames with forces.
    whole : Their positions with all molecules whole [nm].
    kind : The molecules.
    metadata : What the mapping said about them; empty if unknown.
    """
    topology, sites = frames.topology, kind.sites
    bonds = topology.bonds[np.isin(topology.bonds[:, 0], sites[0])] - int(sites[0, 0])
    types = tuple(topology.type_names[topology.types[site]] for site in sites[0].tolist())
    atoms = read_atom_graph(metadata)
    # without its atoms, a bead is what its type says
    labels: Sequence[Hashable] = types if atoms is None else label_beads(atoms)
    n_beads = sites.shape[1]
    samples = whole[:, sites].reshape(-1, n_beads, 3)
    asymmetries: tuple[Asymmetry, ...] = ()
    if n_beads > 1:
        blocks = divide_frames(frames.n_frames, n_blocks=_N_BLOCKS, segment=frames.segment, weight=frames.weight)
        asymmetries = measure_asymmetries(whole, topology, kind, labels, blocks)
    assert frames.forces is not None
    centres = _measure_centres(frames, whole, kind, labels, bonds) if n_beads > 1 else {}
    return MoleculeSurvey(
        molecules=kind,
        beads=tuple(_name_bead(topology, kind, bead) for bead in range(n_beads)),
        types=types,
        bonds=bonds,
        has_impropers=bool(np.isin(topology.impropers[:, 0], sites[0]).any()),
        has_atoms=atoms is not None,
        labels=_survey_labels(samples, types, labels, bonds, atoms) if n_beads > 1 else None,
        asymmetries=asymmetries,
        centres={name: centre for name, (centre, _) in centres.items()},
        with_improper=tuple(name for name, (_, has_improper) in centres.items() if has_improper),
        n_stereocentres=0 if atoms is None else len(find_stereocentres(atoms)),
        lost=() if atoms is None else tuple(atoms.names[k] for k in find_lost_stereocentres(atoms, bonds)),
        noise=measure_force_noise(samples, frames.forces[:, sites].reshape(-1, n_beads, 3), bonds),
        n_labels=tuple(types.count(name) * len(sites) for name in types),
        layout=_lay_out(whole[0, sites[0]]),
    )


def _name_bead(topology: Topology, kind: MoleculeKind, bead: int) -> str:
    site, first = int(kind.sites[0, bead]), int(kind.sites[0, 0])
    number = topology.residue_index[site] - topology.residue_index[first] + 1
    return f"{number}:{topology.residue_names[topology.residue_index[site]]}:{topology.names[site]}"


def _survey_labels(
    samples: Float[np.ndarray, "samples beads 3"],
    types: Sequence[str],
    labels: Sequence[Hashable],
    bonds: Int[np.ndarray, "bonds 2"],
    atoms: AtomGraph | None,
) -> LabelSurvey:
    n_automorphisms = count_automorphisms(labels, bonds)
    return LabelSurvey(
        log_copies=compute_log_copies(types, n_automorphisms),
        log_copies_with_bonds=float(np.log10(count_automorphisms(types, bonds)) - np.log10(n_automorphisms)),
        needed=refine_until_stable(labels, bonds),
        by_depth=_label_by_depth(types, bonds, atoms),
        exchanges=find_exchanges(samples, types, labels, bonds),
    )


def _label_by_depth(
    types: Sequence[str], bonds: Int[np.ndarray, "bonds 2"], atoms: AtomGraph | None
) -> tuple[tuple[int, ...], ...]:
    """Return the labels of `mapping.types: graph` for growing depths; without atoms, types are the start."""
    fragments = None
    if atoms is not None:
        members = np.zeros((len(atoms.members), len(atoms.elements)), dtype=bool)
        for bead, row in enumerate(atoms.members):
            members[bead, list(row)] = True
        fragments = describe_fragments(atoms.elements, members, atoms.bonds)
    found: list[tuple[int, ...]] = []
    for depth in range(DEEPEST + 1):
        if fragments is None:
            colors = refine_colors(types, bonds, depth)
        else:
            colors = refine_colors(name_graph_types(fragments, bonds, depth), bonds, 0)
        if found and len(set(colors)) == len(set(found[-1])):
            break
        found.append(colors)
    return tuple(found)


def _measure_centres(
    frames: Trajectory,
    whole: Float[np.ndarray, "frames sites 3"],
    kind: MoleculeKind,
    labels: Sequence[Hashable],
    bonds: Int[np.ndarray, "bonds 2"],
) -> dict[str, tuple[CentreMeasurement, bool]]:
    """Return the signed improper of every bead whose bonded beads are three or more and all different chemically.

    With each goes whether the topology has an improper of that bead and three of those that are bonded to it.
    """
    first = int(kind.sites[0, 0])
    impropers = frames.topology.impropers[np.isin(frames.topology.impropers[:, 0], kind.sites[0])] - first
    colors, neighbours = refine_until_stable(labels, bonds), list_neighbours(len(labels), bonds)
    segment = np.zeros(frames.n_frames, dtype=np.int64) if frames.segment is None else frames.segment
    found = {}
    for entry in find_centres(frames.topology, kind):
        assert entry.sites is not None
        assert entry.compute is not None
        centre = int(entry.sites[0, 1]) - first
        around = neighbours[centre]
        if len({colors[bead] for bead in around}) == len(around):
            measured = measure_centre(entry.compute(whole), frames.times, segment)
            has_improper = any(centre in row and {centre, *around}.issuperset(row) for row in impropers.tolist())
            found[entry.name] = measured, has_improper
    return found


def _lay_out(positions: Float[np.ndarray, "beads 3"]) -> Float[np.ndarray, "beads 2"]:
    """Return places in the plane in which a molecule is widest [nm]."""
    centred = positions.astype(np.float64) - positions.mean(axis=0)
    return np.asarray(centred @ np.linalg.svd(centred)[2][:2].T)
