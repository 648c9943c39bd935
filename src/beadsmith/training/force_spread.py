"""How far the forces of an ensemble's members lie apart, and from where on that is more than on the training frames.

Members agree where there were frames to learn from and part where each must guess. So their spread tells frames that
are unlike the training data; it cannot tell an error that all members share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from beadsmith.batch import build_batch
from beadsmith.energy import predict, trust_fused
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, adopt_topology
from beadsmith.neighbors import find_pairs
from beadsmith.progress import Progress, silent
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory

PERCENTILE = 99
"""Percentile of the training frames that is the threshold."""

_SITES_AT_ONCE = 2048
_SMALLEST_CUTOFF = 0.1


@torch.no_grad()
def force_spread(
    members: Sequence[ForceField],
    trajectory: Trajectory,
    *,
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
) -> Float[np.ndarray, "frames sites"]:
    """Return the standard deviation of the members' forces on each bead of each frame, per component [kJ/mol/nm].

    s_i² = Σ_m (F_im − <F_i>)² / (3 (M − 1)) over M members m, with <F_i> their mean. The order of the members does not
    matter.

    Parameters
    ----------
    members : Force fields of the same beads, two at least.
    trajectory : Frames of these beads, at the temperature of its state point or, where frames have their own, at that.
    dtype : Precision of the forces.
    progress : Receives the number of frames done.

    Raises
    ------
    InputError : fewer than two members, members of different beads, or frames of molecules that they do not know.
    """
    if len(members) < 2:
        raise InputError(f"a spread needs at least two members, got {len(members)}")
    if any(member.type_names != members[0].type_names for member in members):
        raise InputError("the members of an ensemble must have the same bead types")
    trajectory = replace(trajectory, topology=adopt_topology(trajectory.topology, members[0], where="trajectory"))
    cutoff = max(_SMALLEST_CUTOFF, *(member.cutoff for member in members))
    n_frames, n_sites = trajectory.n_frames, trajectory.n_sites
    spread = np.empty((n_frames, n_sites))
    step = max(1, _SITES_AT_ONCE // n_sites)
    for start in range(0, n_frames, step):
        batch = build_batch(trajectory, np.arange(start, min(start + step, n_frames)), dtype=dtype)
        pairs = find_pairs(batch, cutoff)
        if start == 0:
            for member in members:
                if member.network is not None:
                    trust_fused(member.network, batch, pairs)
        forces = np.stack([predict(member, batch, pairs).forces.double().numpy() for member in members])
        # the mean over components of the variance over members
        spread[start : start + batch.n_systems] = np.sqrt(forces.var(axis=0, ddof=1).mean(axis=1)).reshape(-1, n_sites)
        progress(start + batch.n_systems, n_frames, "force spread")
    return spread


def reduce_to_frames(
    spread: Float[np.ndarray, "frames sites"],
    types: Int[np.ndarray, "sites"],
    typical: Float[np.ndarray, "types"],
) -> Float[np.ndarray, "frames"]:
    """Return the largest spread of any bead of each frame, over the typical spread of the bead's type.

    The largest and not a mean: one bead in a strange place is what must not be missed, and a mean over hundreds of
    beads hides it. Over the typical spread of its type, so that the type with the largest forces does not decide alone.

    Parameters
    ----------
    spread : What `force_spread` returned.
    types : Type of each bead.
    typical : Root mean square spread of each type on the training frames; a type without any spread counts as zero.
    """
    scale = typical[types]
    relative = np.divide(spread, scale, out=np.zeros_like(spread), where=scale > 0.0)
    return np.asarray(relative.max(axis=1))


@dataclass(frozen=True, kw_only=True)
class SpreadThreshold:
    """The threshold of frames of one composition: the largest of many beads is larger by chance than that of few."""

    n_beads: dict[str, int]
    """Number of beads of each type in a frame."""
    value: float
    """Spread of a frame (`reduce_to_frames`) that few training frames exceed."""
    n_frames: int
    """Training frames behind it."""
    expected: float
    """Share of further frames of the same kind that exceed it on average."""

    def to_json(self) -> dict[str, Any]:
        """Return the threshold as a JSON-ready dictionary."""
        return {
            "n_beads": self.n_beads,
            "value": self.value,
            "n_frames": self.n_frames,
            "expected": self.expected,
        }


@dataclass(frozen=True, kw_only=True)
class SpreadScale:
    """What the spread of forces is on the training frames."""

    typical: dict[str, float]
    """Root mean square spread of each bead type [kJ/mol/nm]."""
    thresholds: tuple[SpreadThreshold, ...]
    """One for each composition of the training frames."""

    def find_threshold(self, topology: Topology) -> SpreadThreshold | None:
        """Return the threshold for frames of this composition, or None where no training frame had it."""
        wanted = count_beads(topology)
        return next((entry for entry in self.thresholds if entry.n_beads == wanted), None)

    def judge(self, spread: Float[np.ndarray, "frames sites"], topology: Topology) -> Float[np.ndarray, "frames"]:
        """Return the spread of each frame in units of the typical one of its type; see `reduce_to_frames`."""
        typical = np.array([self.typical.get(name, 0.0) for name in topology.type_names])
        return reduce_to_frames(spread, topology.types, typical)

    def flag(self, spread: Float[np.ndarray, "frames sites"], topology: Topology) -> Bool[np.ndarray, "frames"]:
        """Return which frames lie beyond the threshold.

        Raises
        ------
        InputError : no training frame had this composition.
        """
        threshold = self.find_threshold(topology)
        if threshold is None:
            known = "; ".join(_describe_beads(entry.n_beads) for entry in self.thresholds)
            raise InputError(
                f"the frames have {_describe_beads(count_beads(topology))}, the training frames {known}: the largest "
                "spread of other numbers of beads has no threshold",
                fix="Judge frames of the same system, or look at 'force_spread' itself.",
            )
        return self.judge(spread, topology) > threshold.value

    def to_json(self) -> dict[str, Any]:
        """Return the scale as a JSON-ready dictionary."""
        return {
            "unit": "kJ/mol/nm",
            "percentile": PERCENTILE,
            "typical": self.typical,
            "thresholds": [entry.to_json() for entry in self.thresholds],
        }


def scale_from_json(data: dict[str, Any]) -> SpreadScale:
    """Return the scale that `SpreadScale.to_json` wrote."""
    return SpreadScale(
        typical=dict(data["typical"]), thresholds=tuple(SpreadThreshold(**entry) for entry in data["thresholds"])
    )


def count_beads(topology: Topology) -> dict[str, int]:
    """Return the number of beads of each type that occurs."""
    counts = np.bincount(topology.types, minlength=len(topology.type_names)).tolist()
    return {name: count for name, count in zip(topology.type_names, counts, strict=True) if count}


def scale_spread(spreads: Sequence[Float[np.ndarray, "frames sites"]], topologies: Sequence[Topology]) -> SpreadScale:
    """Return typical spreads and thresholds from the spread of the training frames.

    The threshold of n frames is their k-th smallest spread, k = ceil(0.99 (n + 1)), or the largest if that is less. Of
    further frames that are exchangeable with them, a share of (n + 1 − k)/(n + 1) exceeds it on average, whatever the
    distribution; of one threshold the share is a draw from Beta(n + 1 − k, k).
    Source: V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World (2005), DOI 10.1007/b106715.
    Limit: neighbouring frames are alike, so n is larger than the number of independent ones.

    Parameters
    ----------
    spreads : What `force_spread` returned for each trajectory.
    topologies : Their beads; all have the same list of types.
    """
    names = topologies[0].type_names
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for spread, topology in zip(spreads, topologies, strict=True):
        sums += np.bincount(topology.types, weights=(spread**2).sum(axis=0), minlength=len(names))
        counts += len(spread) * np.bincount(topology.types, minlength=len(names))
    typical = np.sqrt(np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0.0))
    groups: dict[tuple[tuple[str, int], ...], list[np.ndarray]] = {}
    for spread, topology in zip(spreads, topologies, strict=True):
        key = tuple(count_beads(topology).items())
        groups.setdefault(key, []).append(reduce_to_frames(spread, topology.types, typical))
    return SpreadScale(
        typical=dict(zip(names, typical.tolist(), strict=True)),
        thresholds=tuple(_find_threshold(dict(key), np.concatenate(values)) for key, values in groups.items()),
    )


def _describe_beads(n_beads: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in n_beads.items())


def _find_threshold(n_beads: dict[str, int], values: Float[np.ndarray, "frames"]) -> SpreadThreshold:
    n_frames = len(values)
    rank = min(n_frames, -(-PERCENTILE * (n_frames + 1) // 100))
    return SpreadThreshold(
        n_beads=n_beads,
        value=float(np.sort(values)[rank - 1]),
        n_frames=n_frames,
        expected=(n_frames + 1 - rank) / (n_frames + 1),
    )
