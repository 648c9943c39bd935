"""The exceptions a user can meet, each with the exit code that the command line returns for it.

A message says what is wrong, where, what was expected and what was found, and then how to fix it.
"""

from typing import Any


class BeadsmithError(Exception):
    """Abstract root of all errors that beadsmith raises on purpose."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        """Store the parts of the message.

        Parameters
        ----------
        what : What is wrong, with the expected and the found value.
        where : File and line, option, or record in which it was found.
        fix : What the user can do about it.
        """
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        """Return the message as one paragraph."""
        text = self.what.rstrip(".")
        if self.where:
            text += f" ({self.where})"
        text += "."
        if self.fix:
            text += f" {self.fix}"
        return text


class InputError(BeadsmithError):
    """A configuration, file or argument cannot be used as it is."""

    exit_code = 2


class PhysicsError(BeadsmithError):
    """A computation ended in something that no physical system does (blow-up, non-positive constant)."""

    exit_code = 3

    def __init__(
        self, what: str, *, where: str | None = None, fix: str | None = None, summary: dict[str, Any] | None = None
    ) -> None:
        """Store the parts of the message, and what is known about the computation until then."""
        super().__init__(what, where=where, fix=fix)
        self.summary = summary or {}


class InterruptedRunError(BeadsmithError):
    """The work was interrupted; the same command resumes it."""

    exit_code = 4
