"""Coverage: which atoms of the reference are in no bead, and which are in several."""

from typing import Any

import numpy as np

from beadsmith.mapping.beads import BeadTemplate
from beadsmith.topology import Topology, group_equal_molecules

N_NAMED = 24
"""Atoms in no bead that a message names; the metadata of ``mapped.h5`` name all."""

_LONGEST_NAME = 40


def describe_coverage(topology: Topology, templates: tuple[BeadTemplate, ...]) -> dict[str, Any]:
    """Return, per molecule kind, the atoms in no bead and in several by name, and how much mass is left out.

    Atoms in no bead are no error: their forces may still enter an optimal map, and the potential of mean force
    averages over them.
    """
    by_first_site = {int(template.molecules.sites[0, 0]): template for template in templates}
    kinds, mapped_mass = [], 0.0
    for kind in group_equal_molecules(topology):
        sites = kind.sites[0]
        template = by_first_site.get(int(sites[0]))
        counts = np.zeros(len(sites), dtype=int) if template is None else template.members.sum(axis=0)
        mapped_mass += float(topology.masses[sites][counts > 0].sum()) * kind.n_molecules
        kinds.append(
            {
                "name": kind.name,
                "count": kind.n_molecules,
                "n_beads": 0 if template is None else template.n_beads,
                "in_no_bead": [name_atom(topology, site) for site in sites[counts == 0].tolist()],
                "in_several_beads": [name_atom(topology, site) for site in sites[counts > 1].tolist()],
            }
        )
    return {"molecules": kinds, "mass_fraction": mapped_mass / topology.total_mass}


def name_atom(topology: Topology, site: int) -> str:
    """Return NUMBER:RESIDUE:NAME, the residue counted within its molecule."""
    molecule = np.searchsorted(topology.molecule_index, topology.molecule_index[site])
    number = topology.residue_index[site] - topology.residue_index[molecule] + 1
    return f"{number}:{topology.residue_names[topology.residue_index[site]]}:{topology.names[site]}"


def summarize_left_out(molecule: dict[str, Any]) -> str:
    """Return the first atoms of a molecule that are in no bead, by name, and how many more there are."""
    left_out = molecule["in_no_bead"]
    more = f" and {len(left_out) - N_NAMED} more" if len(left_out) > N_NAMED else ""
    return ", ".join(left_out[:N_NAMED]) + more


def shorten_name(molecule: dict[str, Any]) -> str:
    """Return the name of a molecule as far as it can be read: a protein is named after all its residues."""
    name: str = molecule["name"]
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
