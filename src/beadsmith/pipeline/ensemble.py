"""The ensemble of a run: members trained elsewhere, their simulations, and what these add to the evaluation."""

from pathlib import Path
from typing import Any

from beadsmith.analysis.member_spread import spread_over_members
from beadsmith.config.settings import RunSettings
from beadsmith.diagnostics.ensemble import measure_simulated_spread
from beadsmith.errors import InputError
from beadsmith.force_field import load_force_field
from beadsmith.io.links import link_tree
from beadsmith.io.records import read_json
from beadsmith.progress import Progress
from beadsmith.simulation.run import simulate
from beadsmith.simulation.start import FileStart
from beadsmith.training.ensemble import RECORD, derive_member_seed, read_ensemble

_NETWORK = "network"


def take_ensemble(settings: RunSettings, target: Path) -> dict[str, Any]:
    """Put the ensemble of another run folder into this one, and return its record.

    Raises
    ------
    InputError : no ensemble of this kind and size was trained there.
    """
    assert settings.trained_in is not None
    assert settings.ensemble is not None
    source = Path(settings.trained_in) / target.name
    record = read_json(source / RECORD)
    wanted, found = (settings.ensemble.kind, settings.ensemble.members), (record["kind"], record["n_members"])
    if wanted != found:
        raise InputError(
            f"'ensemble' asks for {wanted[1]} networks of kind {wanted[0]}, '{source}' has {found[1]} of {found[0]}",
            where="trained_in",
            fix="Use the section 'ensemble' of the run that trained them.",
        )
    link_tree(source, target)
    return record


def simulate_members(
    settings: RunSettings, ensemble: Path, mapped: Path, output: Path, *, identity: str, progress: Progress
) -> dict[str, Any]:
    """Simulate every member but the first as the run's network is, from the same starts and with its own noise.

    A repeated call goes on where an interrupted one stopped.

    Parameters
    ----------
    settings : Configuration.
    ensemble : Folder of the ensemble.
    mapped : Mapped trajectory, for the starts.
    output : Folder of the simulations, one file a member.
    identity : Hash of everything the result depends on.
    progress : Receives picoseconds done, of all members together.

    Raises
    ------
    PhysicsError : every replica of a member stopped.
    """
    assert settings.ensemble is not None
    output.mkdir(parents=True, exist_ok=True)
    numbers = range(1, settings.ensemble.members)
    stopped = {}
    for number in numbers:

        def report(done: float, total: float, note: str = "", number: int = number) -> None:
            progress((number - 1) * total + done, len(numbers) * total, f"network {number + 1}: {note}")

        summary = simulate(
            load_force_field(ensemble / str(number)),
            FileStart(path=mapped),
            settings.simulation,
            name_simulation(output, number),
            temperature=settings.state.temperature,
            seed=derive_member_seed(settings.seed, number),
            identity=f"{identity}-{number}",
            progress=report,
        )
        stopped[str(number)] = summary["stopped"]
    return {"n_members": settings.ensemble.members, "stopped": stopped}


def name_simulation(folder: Path, number: int) -> Path:
    """Return the file of a member's simulation."""
    return folder / f"{number}.h5"


def list_simulations(settings: RunSettings, folder: Path) -> dict[str, Path]:
    """Return the simulations of all members but the first by name; none without an ensemble."""
    n_members = 1 if settings.ensemble is None else settings.ensemble.members
    return {f"member-{number}": name_simulation(folder, number) for number in range(1, n_members)}


def add_ensemble(
    settings: RunSettings,
    evaluation: dict[str, Any],
    *,
    ensemble: Path,
    main: Path,
    simulation: Path,
    members: dict[str, Path],
    progress: Progress,
) -> dict[str, Any]:
    """Return the evaluation with the spread over members in place of their simulations, and with their force spread.

    Parameters
    ----------
    settings : Configuration.
    evaluation : Measurements of all simulations.
    ensemble, main : Folders of the ensemble and of the run's own force field.
    simulation : The run's own simulation.
    members : Simulations of the other members.
    progress : Receives frames done.
    """
    found = read_ensemble(ensemble, main)
    spread = measure_simulated_spread(
        found,
        simulation,
        discard=settings.evaluation.discard,
        n_blocks=settings.evaluation.n_blocks,
        progress=progress,
    )
    own = {key: found.record[key] for key in ("kind", "n_members", "members", "force_spread", "flagged")}
    own["flagged"] = {**own["flagged"], **spread["flagged"]}
    evaluation = spread_over_members(evaluation, list(members), _NETWORK)
    return {**evaluation, "ensemble": {**own, "series": spread["series"]}}
