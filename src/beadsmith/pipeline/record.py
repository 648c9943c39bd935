"""The file ``record.json`` of a run folder: what was computed, from what, by which versions, and how long it took."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from beadsmith.errors import InputError
from beadsmith.io.records import hash_file, read_json, write_json

FORMAT_VERSION = 1
RECORD_FILE = "record.json"

_LIBRARIES = ("beadsmith", "torch", "numpy", "scipy", "openmm", "h5py", "safetensors", "numba", "vesin")


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """One stage of a run."""

    status: Literal["running", "interrupted", "failed", "done"]
    """``running`` also stands in the record of a run that was killed."""
    input_hash: str
    """Hash of the stage's settings and of the files it reads."""
    outputs: dict[str, str] = field(default_factory=dict)
    """Hash of each file or folder the stage wrote."""
    wall_time: float = 0.0
    """Time the stage took, earlier attempts on the same inputs included [s]."""
    finished: str = ""
    """When it ended (UTC)."""
    command: str = ""
    """Command that started it."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of beadsmith and its libraries."""
    summary: dict[str, Any] = field(default_factory=dict)
    """What the stage reports about itself."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run."""

    name: str
    """Name of the run."""
    seed: int
    """Seed of all randomness."""
    created: str
    """When the run was started first (UTC)."""
    command: str
    """Command that started it last."""
    configuration: dict[str, Any]
    """All settings, values with units."""
    machine: dict[str, str] = field(default_factory=dict)
    """Python and operating system."""
    stages: dict[str, StageRecord] = field(default_factory=dict)
    """Stages that were started, by name."""


def read_record(folder: Path) -> RunRecord | None:
    """Return the record of a run folder, or None if there is none.

    Raises
    ------
    InputError : the record is damaged or of another format version.
    """
    path = folder / RECORD_FILE
    if not path.exists():
        return None
    data = read_json(path)
    version = data.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise InputError(
            f"'{path}' has format version {version}, this beadsmith reads {FORMAT_VERSION}",
            fix="Use the beadsmith version that wrote it, or start a new run with '--output'.",
        )
    try:
        stages = {name: StageRecord(**entry) for name, entry in data.pop("stages").items()}
        return RunRecord(**data, stages=stages)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{path}' is damaged ({error})", fix="Start a new run with '--output', or delete the folder."
        ) from error


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the record atomically."""
    write_json(folder / RECORD_FILE, {"format_version": FORMAT_VERSION, **asdict(record)})


def now() -> str:
    """Return the present time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def collect_versions() -> dict[str, str]:
    """Return the versions of beadsmith and of the libraries whose numbers enter the results."""
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_machine() -> dict[str, str]:
    """Return the Python version and the operating system."""
    return {"python": platform.python_version(), "system": platform.platform(), "processor": platform.machine()}


def hash_data(data: Any) -> str:
    """Return the SHA-256 of JSON-ready data; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files in a folder with their names.

    Raises
    ------
    InputError : the path cannot be read.
    """
    if not path.is_dir():
        return hash_file(path)
    files = sorted(entry for entry in path.rglob("*") if entry.is_file())
    return hash_data({entry.relative_to(path).as_posix(): hash_file(entry) for entry in files})
