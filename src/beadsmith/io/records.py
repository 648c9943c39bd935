"""Small files: atomic JSON and bytes, hashes, and the JSON form of a topology."""

import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.errors import InputError
from beadsmith.topology import Topology

_INDEX_FIELDS = (
    "types",
    "molecule_index",
    "residue_index",
    "bonds",
    "angles",
    "dihedrals",
    "impropers",
    "constraints",
)
_WIDTHS = {"bonds": 2, "angles": 3, "dihedrals": 4, "impropers": 4, "constraints": 2}


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one, also after a crash.

    Raises
    ------
    InputError : the folder cannot be written to or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed to disk and takes its name.

    Raises
    ------
    InputError : the folder cannot be written to or the disk is full; the old file is kept.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # some writers make private files; a result is as readable as any other file of its user
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise describe_os_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the permissions that the user denies to new files; the system tells it only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def describe_os_error(error: OSError, path: Path) -> InputError:
    """Turn an operating system error about a file into one a user can act on."""
    if error.errno == errno.ENOSPC or "No space left" in str(error):
        return InputError(
            f"the disk is full: '{path}' could not be written",
            fix="Free some space and repeat the same command; what was saved before is kept.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"'{path}' cannot be accessed ({error.strerror})", fix="Check its owner and permissions.")
    if error.errno == errno.ENOENT:
        return InputError(f"'{path}' does not exist", fix="Check the path, or run the stage that writes it.")
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return InputError(f"'{path}' cannot be used ({error.strerror})", fix="Choose another output path.")
    return InputError(f"'{path}' could not be read or written ({error})")


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically; NaN and infinities become null, NumPy values plain numbers and lists."""
    write_bytes(path, (json.dumps(to_plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError : the file is missing, unreadable, or not a JSON object.
    """
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise describe_os_error(error, path) from error
    except ValueError as error:
        raise InputError(f"'{path}' is not valid JSON ({error})", fix="Repeat the stage that wrote it.") from error
    if not isinstance(data, dict):
        raise InputError(f"'{path}' holds a JSON {type(data).__name__}, expected an object")
    return data


def to_plain(value: Any) -> Any:
    """Return a value made of dictionaries, lists, strings, finite numbers, booleans and None only."""
    if isinstance(value, dict):
        return {str(key): to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits.

    Raises
    ------
    InputError : the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise describe_os_error(error, path) from error


def topology_to_json(topology: Topology) -> dict[str, Any]:
    """Return a topology as JSON-ready lists."""
    return {
        "names": list(topology.names),
        "type_names": list(topology.type_names),
        "elements": None if topology.elements is None else list(topology.elements),
        "masses": topology.masses.tolist(),
        "residue_names": list(topology.residue_names),
        **{field: getattr(topology, field).tolist() for field in _INDEX_FIELDS},
    }


def topology_from_json(data: dict[str, Any]) -> Topology:
    """Return the topology that `topology_to_json` wrote.

    Raises
    ------
    InputError : a field is missing or does not fit the others.
    """
    try:
        arrays = {
            field: np.array(data[field], dtype=np.int64).reshape((-1, _WIDTHS[field]) if field in _WIDTHS else -1)
            for field in _INDEX_FIELDS
        }
        return Topology(
            names=tuple(data["names"]),
            type_names=tuple(data["type_names"]),
            elements=None if data["elements"] is None else tuple(data["elements"]),
            masses=np.array(data["masses"], dtype=np.float64),
            residue_names=tuple(data["residue_names"]),
            **arrays,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the topology record is damaged ({error!r})") from error
