"""Bead templates: what the beads of one molecule kind are, and the same repeated over all its molecules.

`definitions` builds templates from the settings; molecules without beads have no template.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Bool, Float, Int

from beadsmith.errors import InputError
from beadsmith.linear_map import LinearMap
from beadsmith.mapping.constraints import find_rigid_groups, groups_in_molecule
from beadsmith.topology import MoleculeKind, Topology, group_equal_molecules


def _no_terms(width: int) -> np.ndarray:
    return np.zeros((0, width), dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class BeadTemplate:
    """How each molecule of one kind becomes beads."""

    molecules: MoleculeKind
    """The molecules and their atoms."""
    position_weights: Float[np.ndarray, "beads atoms"]
    """Weight of each atom in each bead position [1]; rows sum to 1."""
    members: Bool[np.ndarray, "beads atoms"]
    """Whether an atom belongs to a bead; all that carry its position do."""
    rigid_groups: Int[np.ndarray, "atoms"]
    """Rigid group of each atom, numbered from 0 within the molecule."""
    names: tuple[str, ...]
    """Name of each bead."""
    type_names: tuple[str, ...]
    """Name of the type of each bead; equal names are one type throughout the data set."""
    masses: Float[np.ndarray, "beads"]
    """Mass of each bead [u]."""
    residue_index: Int[np.ndarray, "beads"]
    """Residue of each bead, counted within the molecule."""
    residue_names: tuple[str, ...]
    """Names of the molecule's residues."""
    bonds: Int[np.ndarray, "_bonds 2"] = field(default_factory=lambda: _no_terms(2))
    """Bonded pairs of beads, counted within the molecule."""
    angles: Int[np.ndarray, "_angles 3"] = field(default_factory=lambda: _no_terms(3))
    """Bead triples along bonds."""
    dihedrals: Int[np.ndarray, "_dihedrals 4"] = field(default_factory=lambda: _no_terms(4))
    """Bead quadruples along bonds."""
    impropers: Int[np.ndarray, "_impropers 4"] = field(default_factory=lambda: _no_terms(4))
    """Improper dihedrals."""

    @property
    def n_beads(self) -> int:
        """Number of beads of one molecule."""
        return len(self.names)


def center_of_mass(topology: Topology) -> tuple[BeadTemplate, ...]:
    """Return one bead per molecule, at R = Σ m_i r_i / M and of mass M; its type is named after the molecule kind.

    Raises
    ------
    InputError : two different kinds of molecule have the same name.
    """
    templates: dict[str, BeadTemplate] = {}
    groups = find_rigid_groups(topology)
    for kind in group_equal_molecules(topology):
        if kind.name in templates:
            first, second = templates[kind.name].molecules.sites[0, 0], kind.sites[0, 0]
            raise InputError(
                f"the molecules at sites {first} and {second} are both named '{kind.name}' but differ in their atoms, "
                "order of atoms, bonds or constraints",
                fix="Give different molecules different residue names, and equal ones the same order of atoms.",
            )
        masses = topology.masses[kind.sites[0]]
        templates[kind.name] = BeadTemplate(
            molecules=kind,
            position_weights=(masses / masses.sum())[None],
            members=np.ones((1, len(masses)), dtype=bool),
            rigid_groups=groups_in_molecule(groups, kind),
            names=(kind.name,),
            type_names=(kind.name,),
            masses=masses.sum(keepdims=True),
            residue_index=np.zeros(1, dtype=np.int64),
            residue_names=(kind.name,),
        )
    return tuple(templates.values())


def place_beads(templates: tuple[BeadTemplate, ...]) -> tuple[Int[np.ndarray, "_molecules _beads"], ...]:
    """Return the bead indices of each template's molecules; beads follow the order of the molecules' atoms."""
    starts = _first_of_each_molecule(templates, tuple(template.n_beads for template in templates))
    return tuple(
        start[:, None] + np.arange(template.n_beads) for start, template in zip(starts, templates, strict=True)
    )


def repeat_weights(
    templates: tuple[BeadTemplate, ...], weights: tuple[Float[np.ndarray, "_beads _atoms"], ...], *, n_atoms: int
) -> LinearMap:
    """Return the map that applies the weights of each template to all its molecules; `n_atoms` counts all atoms."""
    rows, columns, values = [], [], []
    for template, block, beads in zip(templates, weights, place_beads(templates), strict=True):
        bead, atom = np.nonzero(block)
        rows.append(beads[:, bead].ravel())
        columns.append(template.molecules.sites[:, atom].ravel())
        values.append(np.tile(block[bead, atom], len(beads)))
    shape = (
        sum(template.molecules.n_molecules * template.n_beads for template in templates),
        n_atoms,
    )
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return LinearMap(matrix=sparse.csr_array(sparse.coo_array(entries, shape=shape)))


def describe_beads(templates: tuple[BeadTemplate, ...]) -> Topology:
    """Return the topology of all beads, with the bonded terms of each template in every molecule."""
    beads = place_beads(templates)
    molecules = _first_of_each_molecule(templates, (1,) * len(templates))
    residues = _first_of_each_molecule(templates, tuple(len(t.residue_names) for t in templates))
    n_beads = sum(indices.size for indices in beads)
    n_residues = sum(len(t.residue_names) * t.molecules.n_molecules for t in templates)
    type_names = tuple(dict.fromkeys(name for template in templates for name in template.type_names))
    names, residue_names = np.empty(n_beads, dtype=object), np.empty(n_residues, dtype=object)
    types, molecule_index, residue_index = (np.empty(n_beads, dtype=np.int64) for _ in range(3))
    masses = np.empty(n_beads)
    for template, bead, molecule, residue in zip(templates, beads, molecules, residues, strict=True):
        names[bead] = template.names
        types[bead] = [type_names.index(name) for name in template.type_names]
        masses[bead] = template.masses
        molecule_index[bead] = molecule[:, None]
        residue_index[bead] = residue[:, None] + template.residue_index
        residue_names[residue[:, None] + np.arange(len(template.residue_names))] = template.residue_names
    return Topology(
        names=tuple(names),
        types=types,
        type_names=type_names,
        masses=masses,
        molecule_index=molecule_index,
        residue_index=residue_index,
        residue_names=tuple(residue_names),
        bonds=_repeat_terms([template.bonds for template in templates], beads),
        angles=_repeat_terms([template.angles for template in templates], beads),
        dihedrals=_repeat_terms([template.dihedrals for template in templates], beads),
        impropers=_repeat_terms([template.impropers for template in templates], beads),
        constraints=_no_terms(2),
    )


def _repeat_terms(
    terms: list[Int[np.ndarray, "_terms width"]], beads: tuple[Int[np.ndarray, "_molecules _beads"], ...]
) -> Int[np.ndarray, "_all_terms width"]:
    """Return bonded terms of templates as terms of all beads, in the order of the beads."""
    repeated = np.concatenate(
        [indices[:, term].reshape(-1, term.shape[1]) for term, indices in zip(terms, beads, strict=True)]
    )
    return repeated[np.argsort(repeated.min(axis=1), kind="stable")] if len(repeated) else repeated


def _first_of_each_molecule(
    templates: tuple[BeadTemplate, ...], counts: tuple[int, ...]
) -> tuple[Int[np.ndarray, "_molecules"], ...]:
    """Number `counts` things per molecule in the order of the molecules' atoms; return the first of each molecule."""
    first_atoms = np.concatenate([template.molecules.sites[:, 0] for template in templates])
    sizes = np.repeat(counts, [template.molecules.n_molecules for template in templates])
    order = np.argsort(first_atoms)
    starts = np.empty(len(sizes), dtype=np.int64)
    starts[order] = np.cumsum(sizes[order]) - sizes[order]
    return tuple(np.split(starts, np.cumsum([template.molecules.n_molecules for template in templates])[:-1]))
