"""What a study is warned of before it starts: simulations that can be done but may mean nothing."""

from beadsmith.study.record import PlannedRun, Study


def list_cautions(study: Study) -> list[str]:
    """Return one sentence for each kind of simulation whose result is doubtful from the settings alone."""
    doubtful = [run for run in study.results if run.settings.simulation.pressure is not None and not _knows(run)]
    if not doubtful:
        return []
    return [
        f"{len(doubtful)} of {len(study.results)} simulations are at constant pressure with force fields that learn "
        "nothing of it: their boxes may expand or collapse, which ends a replica. Set 'training.labels.virials: 1' "
        "(networks) or 'training.volume_term', or keep the boxes with 'simulation.pressure: none'."
    ]


def _knows(run: PlannedRun) -> bool:
    """Tell whether a force field is fitted to a pressure."""
    training = run.settings.training
    return training.labels.virials > 0.0 or training.volume_term is not None
