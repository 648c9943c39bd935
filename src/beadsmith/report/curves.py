"""Potential and force between two beads alone, for each part of a force field."""

import copy
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Float

from beadsmith.batch import Batch, Pairs, Prediction, build_batch
from beadsmith.energy import predict, predict_prior
from beadsmith.force_field import ForceField
from beadsmith.neighbors import find_pairs
from beadsmith.priors.volume import VolumeTerm
from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint, Trajectory


@dataclass(frozen=True, kw_only=True)
class PairCurve:
    """Interaction of two beads in empty space."""

    distances: Float[np.ndarray, "distances"]
    """Distance of the two beads [nm]."""
    energy: Float[np.ndarray, "distances"]
    """Potential energy, zero beyond the cutoff [kJ/mol]."""
    force: Float[np.ndarray, "distances"]
    """Force that drives the beads apart [kJ/mol/nm]."""


def scan_pair(
    force_field: ForceField,
    distances: Float[np.ndarray, "distances"],
    pair: tuple[int, int],
    *,
    prior_only: bool = False,
) -> PairCurve:
    """Return the interaction of one bead of each of two types, each a molecule of its own.

    For a network this is far from its training data, where every bead has many neighbours: it shows the wall and the
    shape, not the effective force in the liquid. A term of the volume has no part in it.
    """
    # one more pair, beyond the cutoff: the energy that two single beads have
    probes = np.append(distances, force_field.cutoff + 1.0)
    positions = np.zeros((len(probes), 2, 3), dtype=np.float32)
    positions[:, 1, 0] = probes
    masses = np.nan_to_num(force_field.bead_masses, nan=1.0)
    trajectory = Trajectory(
        topology=build_bead_topology(type_names=force_field.type_names, types=np.array(pair), masses=masses),
        state_point=force_field.state_points[0] if force_field.state_points else StatePoint(temperature=300.0),
        positions=positions,
        times=np.arange(float(len(probes))),
    )
    # double precision whatever it was trained in: the parts of a force field may differ in theirs
    terms = [term for term in force_field.prior if not isinstance(term, VolumeTerm)]
    alone = ForceField(terms, force_field.network, force_field.record, force_field.thermal_form)
    precise = copy.deepcopy(alone).double()
    batch = build_batch(trajectory, np.arange(len(probes)), dtype=torch.float64)
    with torch.no_grad():
        prediction = _predict(precise, batch, find_pairs(batch, force_field.cutoff), prior_only)
    energy = prediction.energy.numpy()
    force = prediction.forces.numpy().reshape(-1, 2, 3)[:, 1, 0]
    return PairCurve(distances=distances, energy=energy[:-1] - energy[-1], force=force[:-1])


def type_pairs(force_field: ForceField) -> dict[str, tuple[int, int]]:
    """Return the unordered pairs of bead types by label, for force fields whose molecules are single beads."""
    if any(template.n_sites > 1 for template in force_field.record.templates):
        return {}
    names = force_field.type_names
    pairs = combinations_with_replacement(range(len(names)), 2)
    return {f"{names[a]}-{names[b]}": (a, b) for a, b in pairs}


def _predict(force_field: ForceField, batch: Batch, pairs: Pairs, prior_only: bool) -> Prediction:
    if prior_only:
        return predict_prior(list(force_field.prior), batch, pairs)
    return predict(force_field, batch, pairs)
