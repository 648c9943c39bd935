"""The verdict record: one named number held against one threshold, with its meaning and its remedy."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check of the data, of a fit or of a simulation."""

    name: str
    """Short name, unique in a run, for example ``"closest pair"``."""
    status: Status
    """``pass``, ``warn`` (the user should know) or ``fail`` (the result must not be used; exit code 3)."""
    value: float | str
    """The measured number, or a short text where there is none."""
    unit: str
    """Unit of `value` and `threshold`; ``"1"`` for a pure number."""
    threshold: str
    """The condition the value must meet, readable: ``">= 0.27"``."""
    meaning: str
    """One sentence: what the check is about."""
    remedy: str
    """One sentence: what to do when it does not pass; empty for a check that can only pass or inform."""

    def to_json(self) -> dict[str, Any]:
        """Return the check as a JSON-ready dictionary."""
        return asdict(self)


def worst_status(checks: list[Check]) -> Status:
    """Return the most severe status in a list of checks (``pass`` if it is empty)."""
    order: tuple[Status, ...] = ("pass", "warn", "fail")
    return order[max((order.index(check.status) for check in checks), default=0)]
