"""One process at a time in a run folder."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beadsmith.errors import InputError
from beadsmith.io.records import describe_os_error

LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the lock of a run folder, and give its descriptor: a program that inherits it holds the lock, too.

    The operating system drops the lock when its process ends, however it ends, so a lock file that a killed process
    left behind never blocks; the process id in the file is for the message only.

    Raises
    ------
    InputError : another process holds the lock, or the folder cannot be written to.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise describe_os_error(error, path) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 200).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"another process is working in '{folder}' ({owner})",
                fix="Wait for it or stop it; or choose another folder with '--output'.",
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        try:
            yield descriptor
        finally:
            # the file stays: deleting it would let a third process lock a new file while a second opens the old one
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
