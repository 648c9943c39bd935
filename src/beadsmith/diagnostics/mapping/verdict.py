"""The verdict record of a map: one check, judged for the map alone and for the force field that is configured."""

from dataclasses import dataclass
from typing import Any

from beadsmith.check import Check, Status, worst_status


@dataclass(frozen=True, kw_only=True)
class MappingVerdict:
    """One check of a map."""

    check: Check
    """The verdict for the configured network and prior: this is what counts."""
    map_alone: Status
    """The verdict for a network of types and distances without a prior: what the map itself is worth."""
    cures: tuple[str, ...] = ()
    """Settings that the configuration has already and that make the difference, for example ``"prior.bonds:
    harmonic"``."""

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as a JSON-ready dictionary."""
        return {**self.check.to_json(), "map_alone": self.map_alone, "cures": list(self.cures)}


def verdict_from_json(entry: dict[str, Any]) -> MappingVerdict:
    """Return the verdict that `MappingVerdict.to_json` wrote."""
    rest = dict(entry)
    map_alone, cures = rest.pop("map_alone"), tuple(rest.pop("cures"))
    return MappingVerdict(check=Check(**rest), map_alone=map_alone, cures=cures)


def summarize_verdicts(verdicts: list[MappingVerdict]) -> dict[str, Status]:
    """Return the most severe verdict on the map alone, and on the map with the configured force field."""
    alone = [entry.map_alone for entry in verdicts]
    order: tuple[Status, ...] = ("pass", "warn", "fail")
    return {
        "map_alone": order[max((order.index(status) for status in alone), default=0)],
        "with_model": worst_status([entry.check for entry in verdicts]),
    }
