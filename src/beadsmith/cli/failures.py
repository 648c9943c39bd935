"""How a command ends: exit codes, one-paragraph messages, and signals that mean "stop and keep what is saved".

Exit codes: 0 ok, 1 a fault of beadsmith, 2 bad input, 3 a check of the physics failed, 4 interrupted and resumable.
"""

import functools
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

import typer

from beadsmith.errors import BeadsmithError, InterruptedRunError

P = ParamSpec("P")
T = TypeVar("T")

FAULT_LOG = Path("beadsmith-error.log")


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """Wrap a command so that every error ends in a message on stderr and the right exit code."""

    @functools.wraps(command)
    def guarded_command(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with _terminated_like_interrupted():
                return command(*args, **kwargs)
        except BeadsmithError as error:
            label = "interrupted" if isinstance(error, InterruptedRunError) else "error"
            _tell(label, " ".join([str(error), *getattr(error, "__notes__", [])]))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            _tell("interrupted", "Interrupted; nothing was being computed.")
            raise typer.Exit(InterruptedRunError.exit_code) from error
        except typer.Exit:
            raise
        except BrokenPipeError as error:
            raise typer.Exit(0) from error
        except Exception as error:
            _tell("error", _describe_fault(error))
            raise typer.Exit(1) from error

    return guarded_command


def _tell(label: str, text: str) -> None:
    typer.secho(f"{label}: ", err=True, nl=False, bold=True, fg="red" if label == "error" else "yellow")
    typer.echo(text, err=True)


def _describe_fault(error: Exception) -> str:
    """Say that this is not the user's mistake, and where the traceback is."""
    notes = getattr(error, "__notes__", [])
    if not notes:
        try:
            FAULT_LOG.write_text("".join(traceback.format_exception(error)))
            notes = [f"The traceback is in '{FAULT_LOG}'."]
        except OSError:
            notes = ["The traceback could not be written to the current folder."]
    text = str(error).splitlines()[0] if str(error) else ""
    return (
        f"Sorry, this is a fault in beadsmith ({type(error).__name__}: {text[:200]}). {' '.join(notes)} "
        "Please report it with that file; what was computed before is kept."
    )


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM (a batch system's "stop") do what Ctrl-C does while the body runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
