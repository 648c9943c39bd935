"""Coverage: which atoms of the reference are in no bead, and which are in several."""

from typing import Any

import numpy as np

from beadsmith.mapping.beads import BeadTemplate
from beadsmith.topology import Topology, group_equal_molecules


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
                "in_no_bead": [_name_atom(topology, site) for site in sites[counts == 0].tolist()],
                "in_several_beads": [_name_atom(topology, site) for site in sites[counts > 1].tolist()],
            }
        )
    return {"molecules": kinds, "mass_fraction": mapped_mass / topology.total_mass}


def _name_atom(topology: Topology, site: int) -> str:
    """Return NUMBER:RESIDUE:NAME, the residue counted within its molecule."""
    molecule = np.searchsorted(topology.molecule_index, topology.molecule_index[site])
    number = topology.residue_index[site] - topology.residue_index[molecule] + 1
    return f"{number}:{topology.residue_names[topology.residue_index[site]]}:{topology.names[site]}"
