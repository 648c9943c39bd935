"""The stages of a run as a table: what each depends on, what it writes, and the function that does it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beadsmith.config.settings import RunSettings
from beadsmith.errors import InputError
from beadsmith.pipeline.tasks import (
    BASELINE_SIMULATION,
    CHECKS,
    DIAGNOSIS,
    ENSEMBLE,
    ENSEMBLE_CHECKPOINTS,
    ENSEMBLE_SIMULATIONS,
    EVALUATION,
    FORCE_FIELD,
    MAPPED,
    MEAN_FORCE,
    PAIR_SPLINE,
    REFERENCE,
    REPORT,
    SIMULATION,
    TRAINING,
    Task,
    has_baseline,
    run_average,
    run_diagnose,
    run_evaluate,
    run_import,
    run_map,
    run_report,
    run_sample,
    run_simulate,
    run_simulate_baseline,
    run_simulate_ensemble,
    run_train,
    run_train_ensemble,
)
from beadsmith.pipeline.training_inputs import list_ensemble_inputs, list_training_inputs
from beadsmith.sampling.starts import list_structures
from beadsmith.training.fit import CHECKPOINTS

VERBS = ("sample", "import", "map", "diagnose", "average", "train", "simulate", "evaluate", "report")
"""The stages as a user names them. A run has either ``sample`` or ``import``, and ``average`` where it is asked for;
``simulate`` is two, the force field and the pair spline beside it; an ensemble adds one to ``train`` and one to
``simulate`` for its other networks."""

EXECUTION_KEYS = (
    "sampling.threads",
    "mapping.chunk_frames",
    "mean_force.threads",
    "training.threads",
    "training.checkpoint_interval",
    "training.pair_memory",
    "simulation.threads",
    "simulation.checkpoint_interval",
)
"""Settings of how, not what, is computed: a change of these changes no result beyond rounding and chance."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a run."""

    name: str
    """Unique name; key in the record."""
    verb: str
    """The command it belongs to."""
    keys: tuple[str, ...]
    """Parts of the configuration that its result depends on."""
    inputs: tuple[str, ...]
    """Files and folders of the run folder that it reads."""
    outputs: tuple[str, ...]
    """Files and folders of the run folder that it writes; without a network, some are not written."""
    compute: Callable[[Task], dict[str, Any]]
    """Do it, and return a summary for the record."""
    scratch: tuple[str, ...] = ()
    """What an interrupted stage leaves to go on from."""
    is_baseline: bool = False
    """Whether the stage serves the comparison with a network, and falls away without one."""
    is_ensemble: bool = False
    """Whether the stage serves the other networks of an ensemble, and falls away without one."""
    is_optional: bool = False
    """Whether later stages can do without its result: it is computed where it is asked for, and never in their way."""
    list_external: Callable[[RunSettings], list[str]] = lambda settings: []
    """Files and folders outside the run folder that it reads."""


def needed_stages(settings: RunSettings, verbs: tuple[str, ...] = VERBS) -> list[Stage]:
    """Return the stages of some verbs and all before them, in order, as far as a configuration has them.

    Raises
    ------
    InputError : the only verb is to sample an imported reference, to import a sampled one, or to average without being
        told how.
    """
    absent, present = ("sample", "import") if settings.system is None else ("import", "sample")
    if verbs == (absent,):
        raise InputError(
            f"the configuration has {'no system to sample' if absent == 'sample' else 'no reference to import'}",
            fix=f"Use 'beadsmith {present}'.",
        )
    if verbs == ("average",) and settings.mean_force is None:
        raise InputError(
            "the configuration has no section 'mean_force', which says how labels are averaged",
            fix="Add for example 'mean_force: {frames: 200, duration: 20 ps}'.",
        )
    left_out = {absent} | ({"average"} if settings.mean_force is None else set())
    last = max(VERBS.index(verb) for verb in verbs)
    stages = [stage for stage in STAGES if VERBS.index(stage.verb) <= last and stage.verb not in left_out]
    stages = [stage for stage in stages if stage.verb in verbs or not stage.is_optional]
    stages = [stage for stage in stages if settings.ensemble is not None or not stage.is_ensemble]
    return [stage for stage in stages if has_baseline(settings) or not stage.is_baseline]


STAGES = (
    Stage(
        name="sample",
        verb="sample",
        keys=("seed", "system", "state", "sampling"),
        inputs=(),
        outputs=(REFERENCE,),
        scratch=(f"{REFERENCE}.parts", f"{REFERENCE}.gromacs"),
        list_external=lambda settings: list_structures(settings.system),
        compute=run_sample,
    ),
    Stage(
        name="import",
        verb="import",
        keys=("state", "reference"),
        inputs=(),
        outputs=(REFERENCE,),
        scratch=(f"{REFERENCE}.parts",),
        list_external=lambda settings: [] if settings.reference is None else settings.reference.list_inputs(),
        compute=run_import,
    ),
    Stage(
        name="map",
        verb="map",
        keys=("mapping",),
        inputs=(REFERENCE,),
        outputs=(MAPPED,),
        scratch=(f"{MAPPED}.parts",),
        list_external=lambda settings: list(settings.mapping.files),
        compute=run_map,
    ),
    Stage(
        name="diagnose",
        verb="diagnose",
        keys=("network", "prior", "training.correction"),
        inputs=(MAPPED,),
        outputs=(DIAGNOSIS,),
        compute=run_diagnose,
        is_optional=True,
    ),
    Stage(
        name="average",
        verb="average",
        keys=("seed", "system", "state", "sampling", "mapping", "mean_force"),
        inputs=(REFERENCE, MAPPED),
        outputs=(MEAN_FORCE,),
        scratch=(f"{MEAN_FORCE}.parts",),
        list_external=lambda settings: [*list_structures(settings.system), *settings.mapping.files],
        compute=run_average,
    ),
    Stage(
        name="train",
        verb="train",
        keys=("seed", "prior", "network", "training", "start_from", "train_with", "trained_in"),
        inputs=(MAPPED, MEAN_FORCE),
        outputs=(FORCE_FIELD, PAIR_SPLINE, *TRAINING),
        scratch=(CHECKPOINTS,),
        list_external=list_training_inputs,
        compute=run_train,
    ),
    Stage(
        name="train_ensemble",
        verb="train",
        keys=("seed", "prior", "network", "training", "ensemble", "train_with", "trained_in"),
        inputs=(MAPPED, MEAN_FORCE, FORCE_FIELD),
        outputs=(ENSEMBLE,),
        scratch=(ENSEMBLE_CHECKPOINTS,),
        list_external=list_ensemble_inputs,
        compute=run_train_ensemble,
        is_ensemble=True,
    ),
    Stage(
        name="simulate",
        verb="simulate",
        keys=("seed", "state.temperature", "simulation"),
        inputs=(FORCE_FIELD, MAPPED),
        outputs=(SIMULATION,),
        scratch=(f"{SIMULATION}.parts",),
        compute=run_simulate,
    ),
    Stage(
        name="simulate_pair_spline",
        verb="simulate",
        keys=("seed", "state.temperature", "simulation"),
        inputs=(PAIR_SPLINE, MAPPED),
        outputs=(BASELINE_SIMULATION,),
        scratch=(f"{BASELINE_SIMULATION}.parts",),
        compute=run_simulate_baseline,
        is_baseline=True,
    ),
    Stage(
        name="simulate_ensemble",
        verb="simulate",
        keys=("seed", "state.temperature", "simulation", "ensemble.members"),
        inputs=(ENSEMBLE, MAPPED),
        outputs=(ENSEMBLE_SIMULATIONS,),
        compute=run_simulate_ensemble,
        is_ensemble=True,
    ),
    Stage(
        name="evaluate",
        verb="evaluate",
        keys=("network.kind", "baseline", "evaluation"),
        inputs=(
            MAPPED,
            DIAGNOSIS,
            FORCE_FIELD,
            TRAINING[0],
            SIMULATION,
            BASELINE_SIMULATION,
            ENSEMBLE,
            ENSEMBLE_SIMULATIONS,
        ),
        outputs=(EVALUATION, CHECKS),
        compute=run_evaluate,
    ),
    Stage(
        name="report",
        verb="report",
        keys=("name",),
        inputs=(
            REFERENCE,
            MAPPED,
            DIAGNOSIS,
            FORCE_FIELD,
            *TRAINING,
            SIMULATION,
            BASELINE_SIMULATION,
            EVALUATION,
            CHECKS,
        ),
        outputs=(REPORT,),
        compute=run_report,
    ),
)
"""All stages, in order."""
