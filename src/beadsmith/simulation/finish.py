"""What a simulation ends with: its trajectory files and its summary."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.errors import InputError, PhysicsError
from beadsmith.io.h5md import open_trajectory
from beadsmith.io.parts import PartStore
from beadsmith.simulation.barostat import summarise_moves
from beadsmith.simulation.checkpoint import Standing
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.tally import select_columns, summarise
from beadsmith.simulation.tempering import Exchanges, summarise_exchanges

_SECONDS_PER_DAY = 86400.0
_PICOSECONDS_PER_NANOSECOND = 1000.0


def finish(
    standing: Standing, settings: SimulationSettings, store: PartStore, origin: dict[str, Any]
) -> dict[str, Any]:
    """Join the parts and return the summary.

    Parameters
    ----------
    standing : The end of the run.
    settings : How it was run.
    store : What was saved.
    origin : Temperature, seed and start of the run.

    Raises
    ------
    PhysicsError : every replica stopped, unless the settings accept that and there are frames.
    """
    summary = {
        "n_steps": standing.state.step,
        "n_replicas": settings.replicas,
        "n_beads": standing.state.n_sites,
        "n_frames": store.n_frames,
        **origin,
        **summarise(standing.tally, conserves_energy=settings.integrator == "verlet"),
        "stopped": [asdict(entry) for entry in standing.stopped],
    }
    if standing.volumes is not None and settings.pressure is not None:
        summary["barostat"] = summarise_moves(standing.volumes, pressure=settings.pressure)
    if standing.exchanges is not None and store.n_frames:
        summary = _finish_ladders(standing, standing.exchanges, settings, store, summary)
    elif store.n_frames:
        store.finish({"settings": asdict(settings), "summary": summary})
    if len(standing.stopped) == settings.replicas and (settings.all_stopped == "fail" or not summary["n_frames"]):
        raise PhysicsError(
            f"all {settings.replicas} replicas stopped; the first was {standing.stopped[0].describe()}",
            where=str(store.path),
            fix="Use a shorter timestep (or, for brownian, more friction); if that does not help, the force field has "
            "no wall at short distances.",
            summary=summary,
        )
    rate = standing.state.step / standing.seconds
    return summary | {"speed": _describe_speed(rate, settings, n_running=standing.state.n_replicas)}


def read_finished(output: Path, identity: str) -> dict[str, Any] | None:
    """Return the summary in a finished file of the same identity: a kill may come after the file, before its record."""
    if not Path(output).is_file():
        return None
    try:
        with open_trajectory(output) as stored:
            metadata = stored.metadata
    except InputError:
        return None
    if metadata.get("identity") != identity:
        return None
    summary: dict[str, Any] = metadata["summary"]
    if len(summary["stopped"]) == summary["n_replicas"] and metadata["settings"].get("all_stopped") != "keep":
        return None
    return summary | {"speed": dict.fromkeys(("steps_per_second", "ns_per_day", "ns_per_day_all_replicas"))}


def nanoseconds_per_day(rate: float, settings: SimulationSettings) -> float:
    """Return the speed of one replica from its steps/s."""
    return rate * settings.timestep * _SECONDS_PER_DAY / _PICOSECONDS_PER_NANOSECOND


def _describe_speed(rate: float, settings: SimulationSettings, *, n_running: int) -> dict[str, float]:
    """Return steps/s and ns/day of one replica, and ns/day of all that run side by side."""
    each = nanoseconds_per_day(rate, settings)
    return {"steps_per_second": rate, "ns_per_day": each, "ns_per_day_all_replicas": each * n_running}


def name_output(output: Path, temperature: float) -> Path:
    """Return the file for another temperature of a ladder: ``simulation-340K.h5`` beside ``simulation.h5``."""
    return output.with_name(f"{output.stem}-{temperature:.5g}K{output.suffix}")


def _finish_ladders(
    standing: Standing, exchanges: Exchanges, settings: SimulationSettings, store: PartStore, summary: dict[str, Any]
) -> dict[str, Any]:
    """Write one file a temperature, the run's own last, and return the summary of the run's own temperature.

    In every file a segment is a ladder at the file's temperature: its replica changes, its state point does not.
    """
    own = int(np.abs(exchanges.temperatures - summary["temperature"]).argmin())
    tempering = summarise_exchanges(exchanges) | {"files": [], "kinetic_temperature": []}
    files = {}
    for rung, temperature in enumerate(exchanges.temperatures.tolist()):
        segments = range(rung * exchanges.n_ladders, (rung + 1) * exchanges.n_ladders)
        measured = summarise(
            select_columns(standing.tally, slice(segments.start, segments.stop)), conserves_energy=False
        )
        is_empty = store.count_frames(segments) == 0
        path = store.path if rung == own else name_output(store.path, temperature)
        tempering["files"].append(None if is_empty else path.name)
        tempering["kinetic_temperature"].append(measured["kinetic_temperature"])
        if rung == own:
            summary = summary | measured | {"n_frames": store.count_frames(segments), "tempering": tempering}
        if not is_empty:
            files[path] = (segments, temperature)
    # the file that tells a repeated command that all is done comes last
    for path, (segments, temperature) in sorted(files.items(), key=lambda item: item[0] == store.path):
        metadata = {"settings": asdict(settings), "summary": summary}
        store.write_segments(path, segments, temperature=temperature, metadata=metadata)
    store.delete()
    return summary
