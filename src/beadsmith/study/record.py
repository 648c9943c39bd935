"""What a study is made of once its file is read: runs with their place on the axes, and what counts as stable."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from beadsmith.config.document import Node
from beadsmith.config.load import build_config
from beadsmith.config.settings import RunSettings
from beadsmith.errors import InputError
from beadsmith.study.overlays import replace_value
from beadsmith.units import Unit

Kind = Literal["mapping", "transfer"]
Role = Literal["result", "state", "training"]

STUDY_FILE = "study.yaml"
"""Copy of the study's file in its folder."""

STUDIES = Path("studies")
"""Where study folders go unless the user says otherwise."""


@dataclass(frozen=True, kw_only=True)
class StabilitySettings:
    """Until when a replica counts as stable; what comes later is left out of the distributions of the study."""

    temperature_ratio: float = 2.0
    """A replica ends at its first frame hotter than this multiple of the heat bath, or than six standard deviations of
    what so few beads show anyway."""
    bond_tolerance: Annotated[float, Unit("nm")] = 0.05
    """A replica ends at its first frame with a bond this far from its mean in the reference, or six standard deviations
    of a softer bond."""

    def __post_init__(self) -> None:
        """Refuse values that end every replica.

        Raises
        ------
        InputError : a value is out of range.
        """
        if not self.temperature_ratio > 1.0:
            raise InputError(f"'temperature_ratio' is {self.temperature_ratio}, expected > 1")
        if not self.bond_tolerance > 0.0:
            raise InputError(f"'bond_tolerance' is {self.bond_tolerance} nm, expected > 0")


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a study."""

    name: str
    """Name of its folder within the study."""
    options: dict[str, str]
    """Its option on each axis."""
    settings: RunSettings
    """Its whole configuration."""
    role: Role = "result"
    """A result of the study, or a state point or training that results are made from."""
    sources: tuple[str, ...] = ()
    """Names of the runs whose folders its configuration names; those come before it."""


def plan_run(
    document: Node, name: str, options: dict[str, str], *, role: Role = "result", sources: tuple[str, ...] = ()
) -> PlannedRun:
    """Return the run of a configuration.

    Raises
    ------
    InputError : the configuration is not valid; the message names the run.
    """
    try:
        settings = build_config(replace_value(document, "name", Node(value=name, where="name")))
    except InputError as error:
        raise InputError(f"run '{name}': {error.what}", where=error.where, fix=error.fix) from error
    return PlannedRun(name=name, options=options, settings=settings, role=role, sources=sources)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that is to be done."""

    name: str
    """Name of the study."""
    kind: Kind
    """What its report is about."""
    folder: Path
    """Study folder."""
    axes: dict[str, tuple[str, ...]]
    """Options of each axis, in order."""
    runs: tuple[PlannedRun, ...]
    """All runs, those that others are made from first."""
    stability: StabilitySettings = field(default_factory=StabilitySettings)
    """Until when a replica counts."""

    @property
    def results(self) -> tuple[PlannedRun, ...]:
        """The runs that the report is about."""
        return tuple(run for run in self.runs if run.role == "result")

    def run_folder(self, name: str) -> Path:
        """Return the folder of a run."""
        return self.folder / "runs" / name

    def config_file(self, name: str) -> Path:
        """Return the configuration file of a run."""
        return self.folder / "configs" / f"{name}.yaml"

    def job_file(self, job: str) -> Path:
        """Return the record of a finished job."""
        return self.folder / "jobs" / f"{job}.json"

    def measured_file(self, run: str) -> Path:
        """Return the file of what is measured on each replica of a run."""
        return self.folder / "measured" / f"{run}.json"
