"""Does parallel tempering do its work? Checks of exchanges between neighbours and of walks along the ladder."""

from typing import Any

from beadsmith.check import Check, Status

LOWEST_ACCEPTANCE = (0.1, 0.02)
"""Acceptance between neighbours that passes, and below which the ladder is broken. Round trips are most frequent near
0.23 (A. Kone and D. A. Kofke, J. Chem. Phys. 122, 206101 (2005), DOI 10.1063/1.1917749)."""

ROUND_TRIPS_PER_LADDER = 2.0
"""Round trips of all replicas of a ladder together that pass: with fewer, cold replicas hardly ever saw the heat."""


def check_tempering(summary: dict[str, Any] | None) -> list[Check]:
    """Return the checks of parallel tempering; none where there was none.

    Parameters
    ----------
    summary : What `beadsmith.simulation.tempering.summarise_exchanges` returned, or None.
    """
    if summary is None:
        return []
    tried = [
        (value, cold, hot)
        for value, cold, hot in zip(
            summary["acceptance"], summary["temperatures"][:-1], summary["temperatures"][1:], strict=True
        )
        if value is not None
    ]
    trips = summary["round_trips"] / summary["n_ladders"]
    checks = [
        Check(
            name="round trips",
            status="pass" if trips >= ROUND_TRIPS_PER_LADDER else "warn",
            value=trips,
            unit="1",
            threshold=f">= {ROUND_TRIPS_PER_LADDER:g}",
            meaning="Ways of replicas from the lowest temperature to the highest and back, for each ladder: only those "
            "carry what was crossed in the heat down to the cold.",
            remedy="Simulate longer, or attempt exchanges more often.",
        )
    ]
    if not tried:
        return checks
    value, cold, hot = min(tried)
    status: Status = "pass" if value >= LOWEST_ACCEPTANCE[0] else "warn"
    return [
        Check(
            name="exchange acceptance",
            status=status if value >= LOWEST_ACCEPTANCE[1] else "fail",
            value=value,
            unit="1",
            threshold=f">= {LOWEST_ACCEPTANCE[0]:g}",
            meaning="The smallest fraction of accepted exchanges between neighbours of the ladder, here between "
            f"{cold:.4g} K and {hot:.4g} K.",
            remedy="Take more temperatures, or a lower highest one.",
        ),
        *checks,
    ]
