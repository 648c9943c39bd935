"""A worker process of a sampling run: reads the plan and then tasks from its input, writes outcomes to its output.

Started by `beadsmith.sampling.crew`. It ends when its input ends or nobody reads its output: it never outlives its run.
"""

import os
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import openmm

from beadsmith.errors import PhysicsError
from beadsmith.io.records import topology_from_json, topology_to_json
from beadsmith.sampling.engine import Platform
from beadsmith.sampling.messages import receive, send
from beadsmith.sampling.replicas import Engine, Outcome, Plan, Task
from beadsmith.sampling.settings import SamplingSettings

_REPORT_INTERVAL = 0.1
"""Least time between two reports of progress [s]."""

_STATE, _FRAMES, _START = "state/", "frames/", "start"


def encode_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data."""
    return {
        "settings": asdict(plan.settings),
        "system": openmm.XmlSerializer.serialize(plan.system),
        "topology": topology_to_json(plan.topology),
        "platform": asdict(plan.platform),
        "pressure": plan.pressure,
        "is_liquid": plan.is_liquid,
    }


def decode_plan(header: dict[str, Any]) -> Plan:
    """Return the plan that plain data describe."""
    settings = {**header["settings"], "temperatures": tuple(header["settings"]["temperatures"])}
    return Plan(
        settings=SamplingSettings(**settings),
        system=openmm.XmlSerializer.deserialize(header["system"]),
        topology=topology_from_json(header["topology"]),
        platform=Platform(**header["platform"]),
        pressure=header["pressure"],
        is_liquid=header["is_liquid"],
    )


def encode_task(task: Task) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a task as plain data and arrays."""
    header = {name: getattr(task, name) for name in ("number", "temperature", "seed", "first", "last")}
    arrays = {} if task.start is None else {_START: task.start}
    return header, arrays | {_STATE + name: array for name, array in (task.state or {}).items()}


def decode_task(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Task:
    """Return the task that a message describes."""
    return Task(**header, start=arrays.get(_START), state=_select(arrays, _STATE) or None)


def encode_outcome(outcome: Outcome) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return an outcome as plain data and arrays."""
    header = {name: getattr(outcome, name) for name in ("is_exact", "seconds", "seconds_virial", "platform")}
    arrays = {_FRAMES + name: array for name, array in outcome.frames.items()}
    return header, arrays | {_STATE + name: array for name, array in outcome.state.items()}


def decode_outcome(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Outcome:
    """Return the outcome that a message describes."""
    return Outcome(**header, frames=_select(arrays, _FRAMES), state=_select(arrays, _STATE))


def _select(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def main() -> None:
    """Work until the input ends."""
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(1), "wb")
    # whatever a library prints must not get between the messages
    os.dup2(2, 1)
    message = receive(source)
    if message is None:
        return
    engine = Engine(decode_plan(message[0]))
    while (message := receive(source)) is not None:
        n_done, reported = 0, time.monotonic()

        def report() -> None:
            nonlocal n_done, reported
            n_done += 1
            if time.monotonic() - reported > _REPORT_INTERVAL:
                reported = time.monotonic()
                send(target, {"kind": "progress", "n_done": n_done})

        try:
            header, arrays = encode_outcome(engine.advance(decode_task(*message), report))
            send(target, {"kind": "outcome", **header}, arrays)
        except PhysicsError as error:
            send(target, {"kind": "error", "what": error.what, "where": error.where, "fix": error.fix})


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        # the run is gone
        os._exit(1)
