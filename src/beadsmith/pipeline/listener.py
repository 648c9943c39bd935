"""What a run tells the one who started it; the command line turns it into bars and tables."""

from pathlib import Path
from typing import Protocol

from beadsmith.config.settings import RunSettings
from beadsmith.progress import Progress, silent


class Listener(Protocol):
    """Receive the events of one run."""

    def run_started(self, folder: Path, settings: RunSettings, resume_command: str) -> None:
        """Take what a user wants to know before anything is computed."""

    def stage_started(self, stage: str) -> Progress:
        """Take the name of the stage that begins, and return the receiver of its progress."""

    def stage_finished(self, stage: str, wall_time: float) -> None:
        """Take the time [s] that the stage took."""

    def stage_skipped(self, stage: str) -> None:
        """Take the name of a stage whose inputs and outputs have not changed."""

    def stage_taken(self, stage: str, folder: Path) -> None:
        """Take the name of a stage whose result is that of another run folder."""

    def stage_alarmed(self, stage: str, alarms: list[str]) -> None:
        """Take what a stage found that spoils all that comes after it, a paragraph each; the run goes on."""


class SilentListener:
    """Ignore all events: the default."""

    def run_started(self, folder: Path, settings: RunSettings, resume_command: str) -> None:
        """Ignore the start."""

    def stage_started(self, stage: str) -> Progress:
        """Ignore progress."""
        return silent

    def stage_finished(self, stage: str, wall_time: float) -> None:
        """Ignore the end of a stage."""

    def stage_skipped(self, stage: str) -> None:
        """Ignore a skipped stage."""

    def stage_taken(self, stage: str, folder: Path) -> None:
        """Ignore a stage that is taken over."""

    def stage_alarmed(self, stage: str, alarms: list[str]) -> None:
        """Ignore alarms."""
