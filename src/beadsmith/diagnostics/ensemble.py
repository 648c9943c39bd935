"""Does a simulation stay where its networks were trained? The spread of an ensemble's forces along it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.analysis.measure import frames_after
from beadsmith.check import Check, Status
from beadsmith.force_field import adopt_topology
from beadsmith.io.h5md import open_trajectory
from beadsmith.progress import Progress, silent
from beadsmith.statistics import block_mean_and_error
from beadsmith.training.ensemble import Ensemble
from beadsmith.training.force_spread import force_spread

MOST_FRAMES = 1000
"""Simulated frames that are judged; of more, evenly chosen ones."""

LARGEST_SHARE = 0.05
"""Share of flagged frames that passes. With as few as 100 independent training frames their largest spread is the
threshold, and more than 5 % of equal frames exceed it once in 170 times (0.95^100)."""


def measure_simulated_spread(
    ensemble: Ensemble, simulation: Path, *, discard: float, n_blocks: int, progress: Progress = silent
) -> dict[str, Any]:
    """Return the share of a simulation's frames beyond the threshold of the training frames, and the spread in time.

    Parameters
    ----------
    ensemble : All members, and their spread on the training frames.
    simulation : Trajectory of the first member.
    discard : Time dropped at the start of every segment [ps].
    n_blocks : Blocks of frames for the error.
    progress : Receives frames done.

    Returns
    -------
    ``flagged``: the share of ``simulation``, or None where no training frame had this composition; and ``series``:
    ``time`` [ps], ``segment`` and ``spread`` of each frame over the typical one of its type.

    Raises
    ------
    InputError : the file cannot be read, or holds other molecules.
    """
    with open_trajectory(simulation) as stored:
        kept, segment = frames_after(stored, discard)
        frames = np.flatnonzero(kept)
        if len(frames) > MOST_FRAMES:
            frames = frames[np.linspace(0, len(frames) - 1, MOST_FRAMES).astype(np.int64)]
        trajectory = stored.read(frames)
        topology = adopt_topology(stored.topology, ensemble.members[0], where=f"file '{simulation}'")
    trajectory = replace(trajectory, topology=topology)
    spread = force_spread(ensemble.members, trajectory, progress=progress)
    flagged = None
    if (threshold := ensemble.scale.find_threshold(topology)) is not None:
        flags = ensemble.scale.flag(spread, topology)
        share, error = block_mean_and_error(flags, n_blocks=n_blocks, segment=segment[frames])
        flagged = {"value": share, "standard_error": error, "unit": "1", "n_samples": len(frames)}
        flagged["threshold"] = threshold.value
    series = {
        "time": trajectory.times.tolist(),
        "segment": segment[frames].tolist(),
        "spread": ensemble.scale.judge(spread, topology).tolist(),
    }
    return {"flagged": {"simulation": flagged}, "series": series}


def check_ensemble(ensemble: dict[str, Any] | None) -> list[Check]:
    """Return the check of the force spread; none without an ensemble, or where there is no threshold.

    Parameters
    ----------
    ensemble : The entry ``ensemble`` of an evaluation, or None.
    """
    if ensemble is None or ensemble["flagged"]["simulation"] is None:
        return []
    flagged, percentile = ensemble["flagged"]["simulation"], ensemble["force_spread"]["percentile"]
    error = flagged["standard_error"] or 0.0
    error = error if np.isfinite(error) else 0.0
    status: Status = "pass" if flagged["value"] <= LARGEST_SHARE + 2.0 * error else "warn"
    return [
        Check(
            name="force spread",
            status=status,
            value=flagged["value"],
            unit="1",
            threshold=f"<= {LARGEST_SHARE} + 2 standard errors ({error:.1g} each)",
            meaning=f"Share of simulated frames on which {ensemble['n_members']} networks disagree more than on "
            f"{percentile} % of their training frames. About {100 - percentile} % is expected; more means that the "
            "simulation goes where there were no frames. Errors that all members share do not show.",
            remedy="Sample frames like the flagged ones and train on them too, or distrust what depends on them.",
        )
    ]
