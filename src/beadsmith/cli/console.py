"""What a run shows while it works: bars with a remaining time on a terminal, a line now and then anywhere else."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from beadsmith import progress as beadsmith_progress

LINE_INTERVAL = 15.0
"""Time between two progress lines where there is no terminal [s]."""

TITLES = {
    "sample": "atomistic reference simulation",
    "import": "frames from files",
    "map": "from atoms to beads",
    "diagnose": "verdict on the map",
    "average": "forces at fixed beads",
    "train": "prior, pair spline and network",
    "train_ensemble": "the other networks of the ensemble",
    "simulate": "coarse-grained simulation",
    "simulate_pair_spline": "the same with the pair spline",
    "simulate_ensemble": "the same with the other networks",
    "evaluate": "comparison with the reference",
    "report": "report",
}


class RunConsole:
    """Show the events of a run (see `beadsmith.pipeline.listener.Listener`)."""

    def __init__(self, console: Console | None = None) -> None:
        """Write to a console; standard output if not given."""
        self.console = console or make_console()
        self._bars: Progress | None = None

    def run_started(self, folder: Path, settings: Any, resume_command: str) -> None:
        """Show folder, seed and resume command."""
        self.console.print(f"run folder  [bold]{folder}[/bold]")
        self.console.print(f"seed        {settings.seed}")
        self.console.print(f"resume      {resume_command}", markup=False)
        self.console.print()

    def output_announced(self, output: Path, seed: int, command: str) -> None:
        """Show file, seed and resume command of a simulation outside a run folder."""
        self.console.print(f"output  [bold]{output}[/bold]")
        self.console.print(f"seed    {seed}")
        self.console.print(f"resume  {command}", markup=False)
        self.console.print()

    def stage_started(self, stage: str) -> beadsmith_progress.Progress:
        """Begin a bar, or a line."""
        title = TITLES.get(stage, "")
        if not self.console.is_terminal:
            self.console.print(f"{stage}: {title}", markup=False)
            return _print_lines(self.console, stage)
        self._bars = Progress(
            TextColumn(f"[bold]{stage}[/bold]"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
        )
        self._bars.start()
        return _move_bar(self._bars, self._bars.add_task(title, total=None))

    def stage_finished(self, stage: str, wall_time: float) -> None:
        """End the bar and keep one line."""
        self.stop()
        self.console.print(f"{stage}: done in {format_duration(wall_time)}", markup=False)

    def stage_skipped(self, stage: str) -> None:
        """Say that nothing had to be done."""
        self.console.print(f"{stage}: unchanged, skipped", markup=False)

    def stage_taken(self, stage: str, folder: Path) -> None:
        """Say where the result comes from."""
        self.console.print(f"{stage}: taken from {folder}", markup=False)

    def stage_alarmed(self, stage: str, alarms: list[str]) -> None:
        """Say loudly what is wrong, and that the run goes on all the same."""
        self.stop()
        self.console.rule(f"{stage}: FAIL", style="bold red")
        for alarm in alarms:
            self.console.print(alarm, style="red", markup=False)
        self.console.print(
            "The run goes on, and ends with exit code 3. Stop it with Ctrl-C to change the configuration first.",
            style="bold red",
        )
        self.console.rule(style="bold red")

    def stop(self) -> None:
        """Remove a bar that is still shown."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def make_console() -> Console:
    """Return a console on standard output; without a terminal, lines may be as wide as tables want."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=120)


def format_duration(seconds: float) -> str:
    """Return a time as people say it: ``0.4 s``, ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _move_bar(bars: Progress, task: TaskID) -> Callable[..., None]:
    def move(done: float, total: float, note: str = "") -> None:
        bars.update(task, completed=done, total=total, description=note)

    return move


def _print_lines(console: Console, stage: str) -> Callable[..., None]:
    began = last = time.monotonic()
    first: float | None = None

    def print_line(done: float, total: float, note: str = "") -> None:
        nonlocal first, last
        now = time.monotonic()
        # a resumed stage does not begin at zero
        first = done if first is None else first
        if now - last < LINE_INTERVAL or total <= 0:
            return
        last = now
        # the first steps compile kernels and build lists: an estimate from them would be far off
        left = (now - began) * (total - done) / (done - first) if done - first >= 0.01 * total else None
        remaining = "" if left is None else f", about {format_duration(max(left, 0.0))} left"
        console.print(
            f"{stage}: {100 * min(done / total, 1.0):.0f} %{remaining}{', ' + note if note else ''}", markup=False
        )

    return print_line
