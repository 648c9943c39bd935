"""How long work tells the caller how far it is; the command line turns it into bars with a remaining time."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Receive the progress of one stage."""

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Take `done` of `total` units of work, and a short note such as the current loss."""


def silent(done: float, total: float, note: str = "") -> None:
    """Ignore all progress: the default of every stage function."""
