"""Run stages in a run folder: skip what is done, resume what was interrupted, refuse what does not fit."""

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from beadsmith.check import Check
from beadsmith.config.describe import to_document, write_yaml
from beadsmith.config.load import load_config
from beadsmith.config.settings import RunSettings
from beadsmith.errors import InputError, InterruptedRunError, PhysicsError
from beadsmith.io.records import describe_os_error, read_json, write_bytes
from beadsmith.pipeline.changes import (
    EXTERNAL,
    adopt_new_settings,
    changed_keys,
    delete,
    discard_results,
    identify_stage,
    refuse_foreign_files,
    refuse_other_configuration,
    select_configuration,
)
from beadsmith.pipeline.listener import Listener, SilentListener
from beadsmith.pipeline.lock import LOCK_FILE, locked
from beadsmith.pipeline.record import (
    RECORD_FILE,
    RunRecord,
    StageRecord,
    collect_versions,
    describe_machine,
    hash_path,
    now,
    read_record,
    write_record,
)
from beadsmith.pipeline.reuse import check_donors, find_result, link_outputs
from beadsmith.pipeline.stages import STAGES, VERBS, Stage, needed_stages
from beadsmith.pipeline.tasks import ALARMS, CHECKS, Task
from beadsmith.training.start import check_start

CONFIG_COPY = "run.yaml"
ERROR_LOG = "error.log"
DEFAULT_PARENT = Path("runs")

_HEADER = "The configuration of this run, all defaults spelled out. 'beadsmith run' on its folder resumes it."


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run left behind."""

    folder: Path
    """Run folder."""
    settings: RunSettings
    """Configuration of the run."""
    record: RunRecord
    """Stages with their times and summaries."""
    checks: list[Check]
    """Verdicts, empty until `evaluate` is done."""


def run(
    config: Path | str,
    overrides: Sequence[str] = (),
    *,
    output: Path | str | None = None,
    verbs: tuple[str, ...] = VERBS,
    restart_from: str | None = None,
    reuse: Sequence[Path] = (),
    command: str | None = None,
    listener: Listener | None = None,
) -> RunResult:
    """Do the stages of one configuration that are not done yet, in its run folder.

    Parameters
    ----------
    config : YAML file, or a run folder (its ``run.yaml`` is read).
    overrides : Settings that replace those of the file, each ``"a.b=c"``.
    output : Run folder; ``runs/<name>`` if not given.
    verbs : Stages to do; the results of earlier ones must be there.
    restart_from : Verb whose results, and all later ones, are discarded first. Only so may the configuration change.
    reuse : Other run folders; results that the same settings and files gave there are taken over, as hard links.
    command : Command that resumes the run, for messages and the record.
    listener : Receives events and progress.

    Returns
    -------
    Folder, settings, record and checks.

    Raises
    ------
    InputError : configuration, files or folder cannot be used; the configuration changed; another process works there.
    PhysicsError : a computation ended in something unphysical.
    InterruptedRunError : the run was interrupted; the same call resumes it.
    """
    settings = load_config(find_config(Path(config)), overrides)
    folder = choose_folder(Path(config), settings, output)
    if restart_from is not None and restart_from not in VERBS:
        raise InputError(f"'{restart_from}' is no stage", where="--restart-from", fix=f"Stages: {', '.join(VERBS)}.")
    if restart_from is not None and restart_from not in verbs:
        raise InputError(
            f"'--restart-from {restart_from}' would discard results that 'beadsmith {verbs[0]}' does not compute",
            fix=f"Use it with 'beadsmith run' or 'beadsmith {restart_from}'.",
        )
    check_donors(reuse)
    open_folder(folder)
    with locked(folder), logged(folder):
        session = _Session(
            folder=folder,
            settings=settings,
            command=command or f"beadsmith run {config}",
            listener=listener or SilentListener(),
            donors=tuple(reuse),
        )
        record = session.prepare(restart_from)
        for stage in needed_stages(settings, verbs):
            record = session.advance(stage, record, is_wanted=stage.verb in verbs)
            alarms = record.stages[stage.name].summary.get(ALARMS)
            if alarms and stage.verb in verbs:
                session.listener.stage_alarmed(stage.name, alarms)
    return RunResult(folder=folder, settings=settings, record=record, checks=read_checks(folder))


def find_config(path: Path) -> Path:
    """Return the configuration file that a path stands for: itself, or the copy in a run folder.

    Raises
    ------
    InputError : a folder holds no configuration.
    """
    if not path.is_dir():
        return path
    if not (path / CONFIG_COPY).is_file():
        raise InputError(
            f"'{path}' is a folder without '{CONFIG_COPY}', so it is no run folder", fix="Give a YAML file."
        )
    return path / CONFIG_COPY


def choose_folder(config: Path, settings: RunSettings, output: Path | str | None) -> Path:
    """Return the run folder: the wanted one, the one that the configuration lies in as a copy, or ``runs/<name>``."""
    if output is not None:
        return Path(output)
    is_copy = config.name == CONFIG_COPY and (config.parent / RECORD_FILE).is_file()
    return config if config.is_dir() else config.parent if is_copy else DEFAULT_PARENT / settings.name


def read_checks(folder: Path) -> list[Check]:
    """Return the checks of a run folder; empty if it was not evaluated."""
    path = folder / CHECKS
    return [Check(**entry) for entry in read_json(path)["checks"]] if path.exists() else []


def open_folder(folder: Path) -> None:
    """Make a run folder, or check that an existing one is a run folder.

    Raises
    ------
    InputError : the path is a file, holds other things than a run, or cannot be written to.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"the run folder '{folder}' is a file", fix="Choose another folder with '--output'.")
        folder.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in folder.iterdir() if entry.name not in (LOCK_FILE, ERROR_LOG)]
    except OSError as error:
        raise describe_os_error(error, folder) from error
    if others and RECORD_FILE not in others:
        raise InputError(
            f"the folder '{folder}' is not empty and holds no run ({sorted(others)[0]!r} lies there)",
            fix="Choose a new or empty folder with '--output'.",
        )


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Write the traceback of an error to the run folder's ``error.log``, and tell the error so; success removes it."""
    path = folder / ERROR_LOG
    try:
        yield
        path.unlink(missing_ok=True)
    except InterruptedRunError:
        raise
    except Exception as error:
        with suppress(OSError):
            path.write_text(f"{now()}\n{traceback.format_exc()}")
            error.add_note(f"The traceback is in '{path}'.")
        raise


@dataclass(frozen=True, kw_only=True)
class _Session:
    """One call of `run` that holds the lock of its folder."""

    folder: Path
    settings: RunSettings
    command: str
    listener: Listener
    donors: tuple[Path, ...]

    def prepare(self, restart_from: str | None) -> RunRecord:
        """Read or begin the record; refuse another configuration unless its affected stages are restarted."""
        configuration = to_document(self.settings)
        record = read_record(self.folder)
        if record is None:
            record = RunRecord(
                name=self.settings.name,
                seed=self.settings.seed,
                created=now(),
                command=self.command,
                configuration=configuration,
                machine=describe_machine(),
            )
        record = adopt_new_settings(record)
        if restart_from is not None:
            record = self._restart(record, restart_from, configuration)
        refuse_other_configuration(self.folder, record, configuration)
        record = replace(record, command=self.command, configuration=configuration)
        write_record(self.folder, record)
        write_bytes(self.folder / CONFIG_COPY, write_yaml(self.settings, _HEADER).encode())
        self.listener.run_started(self.folder, self.settings, self.command)
        return record

    def _restart(self, record: RunRecord, verb: str, configuration: dict[str, Any]) -> RunRecord:
        early = [stage for stage in STAGES if VERBS.index(stage.verb) < VERBS.index(verb) and not stage.is_optional]
        keys = tuple(key for stage in early for key in stage.keys)
        if select_configuration(record.configuration, keys) != select_configuration(configuration, keys):
            refuse_other_configuration(self.folder, record, configuration)
        self._keep_start(verb)
        changed = changed_keys(record.configuration, configuration)
        record = replace(
            discard_results(self.folder, record, verb, changed), seed=self.settings.seed, configuration=configuration
        )
        write_record(self.folder, record)
        return record

    def _keep_start(self, verb: str) -> None:
        """Refuse to discard anything for a training that cannot start, or whose start would be discarded, too."""
        start = self.settings.start_from
        if start is None or VERBS.index(verb) > VERBS.index("train"):
            return
        if Path(start).resolve().is_relative_to(self.folder.resolve()):
            raise InputError(
                f"'{start}' would be discarded before training starts from it",
                where="start_from",
                fix="Copy the run folder, and train in the copy from the force field of the original.",
            )
        check_start(Path(start), self.settings.network, self.settings.training)

    def advance(self, stage: Stage, record: RunRecord, *, is_wanted: bool) -> RunRecord:
        """Do one stage if its result is not there already; one that is not wanted must have its result."""
        entry = record.stages.get(stage.name)
        external = self._hash_external(stage, entry)
        identity = identify_stage(stage, record, external)
        if entry is not None and entry.input_hash == identity and self._is_done(stage, entry):
            if is_wanted:
                self.listener.stage_skipped(stage.name)
            return record
        if (taken := self._take_over(stage, record, identity, external)) is not None:
            return taken
        if not is_wanted:
            raise InputError(
                f"the result of '{stage.verb}' is missing or older than its inputs in '{self.folder}'",
                fix=f"Run 'beadsmith {stage.verb} {self.folder}' first, or 'beadsmith run {self.folder}' for all.",
            )
        refuse_foreign_files(self.folder, record, stage)
        return self._compute(stage, record, identity, external)

    def _hash_external(self, stage: Stage, entry: StageRecord | None) -> dict[str, str]:
        """Return the hashes of what a stage reads from outside the run folder.

        Raw trajectories are often moved away once they are imported: one that is gone counts as unchanged.
        """
        known = {} if entry is None or entry.status != "done" else entry.summary.get(EXTERNAL, {})
        return {
            name: known[name] if name in known and not Path(name).exists() else hash_path(Path(name))
            for name in stage.list_external(self.settings)
        }

    def _is_done(self, stage: Stage, entry: StageRecord) -> bool:
        """Whether a stage ended and its outputs lie there as it wrote them."""
        if entry.status != "done":
            return False
        for name, expected in entry.outputs.items():
            path = self.folder / name
            if not path.exists():
                return False
            if hash_path(path) != expected:
                raise InputError(
                    f"'{path}' was changed or damaged: its hash is not that of what stage '{stage.name}' wrote",
                    fix=f"Delete it and repeat the command to compute it again, or add '--restart-from {stage.verb}'.",
                )
        return True

    def _take_over(self, stage: Stage, record: RunRecord, identity: str, external: dict[str, str]) -> RunRecord | None:
        """Take the result from another run folder that has it; None if none has."""
        found = find_result(stage.name, identity, [folder for folder in self.donors if folder != self.folder])
        if found is None:
            return None
        refuse_foreign_files(self.folder, record, stage)
        # on record first: after a kill in between, the files are known as this run's own
        record = self._store(stage, record, replace(found.entry, status="running", outputs={}, wall_time=0.0))
        link_outputs(found, self.folder)
        summary = {**found.entry.summary, "taken_from": str(found.folder)}
        summary |= {EXTERNAL: external} if external else {}
        entry = replace(found.entry, wall_time=0.0, finished=now(), command=self.command, summary=summary)
        self.listener.stage_taken(stage.name, found.folder)
        return self._store(stage, record, entry)

    def _compute(self, stage: Stage, record: RunRecord, identity: str, external: dict[str, str]) -> RunRecord:
        """Do one stage, and record its beginning and its end whatever happens."""
        previous = record.stages.get(stage.name)
        is_resumed = previous is not None and previous.input_hash == identity
        spent = previous.wall_time if previous is not None and is_resumed else 0.0
        entry = StageRecord(
            status="running",
            input_hash=identity,
            wall_time=spent,
            command=self.command,
            versions=collect_versions(),
        )
        record = self._store(stage, record, entry)
        began = time.monotonic()
        status: Literal["interrupted", "failed"] = "failed"
        try:
            progress = self.listener.stage_started(stage.name)
            task = Task(
                folder=self.folder,
                settings=self.settings,
                identity=identity,
                summaries={name: done.summary for name, done in record.stages.items()},
                progress=progress,
            )
            summary = stage.compute(task)
            outputs = {name: hash_path(self.folder / name) for name in stage.outputs if (self.folder / name).exists()}
            for name in stage.scratch:
                delete(self.folder / name)
        except KeyboardInterrupt as error:
            status = "interrupted"
            raise InterruptedRunError(
                f"interrupted in stage '{stage.name}'; what it saved is kept", fix=f"Go on with: {self.command}"
            ) from error
        except PhysicsError as error:
            entry = replace(entry, summary=error.summary)
            raise
        except OSError as error:
            raise describe_os_error(error, Path(error.filename or self.folder)) from error
        else:
            summary = {**summary, EXTERNAL: external} if external else summary
            entry = replace(entry, status="done", outputs=outputs, summary=summary)
        finally:
            for name in stage.scratch:
                # a stage that failed at once leaves an empty folder behind; one with saved work is kept
                with suppress(OSError):
                    (self.folder / name).rmdir()
            entry = replace(entry, wall_time=spent + time.monotonic() - began, finished=now())
            entry = entry if entry.status == "done" else replace(entry, status=status)
            record = self._store(stage, record, entry)
        self.listener.stage_finished(stage.name, entry.wall_time)
        return record

    def _store(self, stage: Stage, record: RunRecord, entry: StageRecord) -> RunRecord:
        record = replace(record, stages={**record.stages, stage.name: entry})
        write_record(self.folder, record)
        return record
