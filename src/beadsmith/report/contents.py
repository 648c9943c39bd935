"""Read what a run folder holds for its report; every part may be missing, because stages can be skipped."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beadsmith.check import Check
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, load_force_field
from beadsmith.io.h5md import open_trajectory
from beadsmith.io.records import read_json
from beadsmith.trajectory import Trajectory

NETWORK, PAIR_SPLINE = "network", "pair_spline"


@dataclass(frozen=True, kw_only=True)
class RunContents:
    """Everything the report is made of."""

    folder: Path
    """The run folder."""
    record: dict[str, Any]
    """``record.json``; empty if there is none."""
    checks: list[Check]
    """Verdicts of ``checks.json``."""
    evaluation: dict[str, Any] | None
    """``evaluation.json``."""
    training: dict[str, Any] | None
    """``training.json``."""
    training_log: dict[str, list[float]]
    """Columns of ``training.csv``; empty if there is none."""
    mapping: dict[str, Any]
    """Summary of the mapping, from ``mapped.h5``; empty if there is none."""
    diagnosis: dict[str, Any] | None
    """``diagnosis.json``."""
    sampling: dict[str, Any]
    """Facts about the atomistic run, from ``reference.h5``; empty if there is none."""
    force_fields: dict[str, ForceField]
    """The network's and the pair spline's force field, as far as they are there."""
    members: list[ForceField]
    """The other networks of an ensemble; empty without one."""
    simulation_files: dict[str, str]
    """File of each simulation that is there, by the name of its force field."""
    last_frames: dict[str, Trajectory]
    """Last frame of the ``reference`` (mapped) and of each simulation that is there."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.record.get("name") or self.folder.resolve().name)

    def stage_summary(self, output: str) -> dict[str, Any]:
        """Return what the stage that wrote a file said about itself; empty if it is not on record."""
        for stage in self.record.get("stages", {}).values():
            if output in stage.get("outputs", {}):
                summary: dict[str, Any] = stage.get("summary", {})
                return summary
        return {}


def read_contents(folder: Path) -> RunContents:
    """Read all parts of a run folder that are there.

    Raises
    ------
    InputError : the folder is missing, holds no result, or one of its files is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"the run folder '{folder}' does not exist", fix="Check the path, or run 'beadsmith run'.")
    evaluation = _read_optional(folder / "evaluation.json")
    training = _read_optional(folder / "training.json")
    mapping = _read_metadata(folder / "mapped.h5")
    if evaluation is None and training is None and not mapping:
        raise InputError(
            f"'{folder}' holds no result to report on (no mapped.h5, training.json or evaluation.json)",
            fix="Run 'beadsmith run' first.",
        )
    checks = _read_optional(folder / "checks.json") or {"checks": []}
    force_fields = _read_force_fields(folder)
    simulation_files = _find_simulations(folder, force_fields)
    return RunContents(
        folder=folder,
        record=_read_optional(folder / "record.json") or {},
        checks=[Check(**entry) for entry in checks["checks"]],
        evaluation=evaluation,
        training=training,
        training_log=_read_columns(folder / "training.csv"),
        mapping=mapping,
        diagnosis=_read_optional(folder / "diagnosis.json"),
        sampling=_read_metadata(folder / "reference.h5"),
        force_fields=force_fields,
        members=_read_members(folder / "ensemble"),
        simulation_files=simulation_files,
        last_frames=_read_last_frames(folder, {"reference": "mapped.h5", **simulation_files}),
    )


def _read_force_fields(folder: Path) -> dict[str, ForceField]:
    """Read the main force field, which is the pair spline where no network was trained, and the baseline."""
    found = {}
    for name in ("force_field", "pair_spline"):
        if (folder / name / "force_field.json").is_file():
            force_field = load_force_field(folder / name)
            found[PAIR_SPLINE if force_field.network is None else NETWORK] = force_field
    return found


def _read_members(folder: Path) -> list[ForceField]:
    """Read the networks of an ensemble beside the first, which is the run's own."""
    paths = sorted(folder.glob("*/force_field.json"), key=lambda path: int(path.parent.name))
    return [load_force_field(path.parent) for path in paths]


def _find_simulations(folder: Path, force_fields: dict[str, ForceField]) -> dict[str, str]:
    main = PAIR_SPLINE if force_fields and NETWORK not in force_fields else NETWORK
    files = {PAIR_SPLINE: "pair_spline.h5", main: "simulation.h5"}
    order = (NETWORK, PAIR_SPLINE)
    return {name: files[name] for name in order if name in files and (folder / files[name]).is_file()}


def _read_optional(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def _read_metadata(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with open_trajectory(path) as stored:
        return stored.metadata


def _read_last_frames(folder: Path, files: dict[str, str]) -> dict[str, Trajectory]:
    frames = {}
    for name, file in files.items():
        if (folder / file).is_file():
            with open_trajectory(folder / file) as stored:
                if stored.n_frames:
                    frames[name] = stored.read(slice(stored.n_frames - 1, stored.n_frames))
    return frames


def _read_columns(path: Path) -> dict[str, list[float]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {key: [float(row[key]) for row in rows] for key in (rows[0] if rows else ())}
    except (TypeError, ValueError) as error:
        raise InputError(f"'{path}' is damaged ({error})", fix="Repeat 'beadsmith train'.") from error
