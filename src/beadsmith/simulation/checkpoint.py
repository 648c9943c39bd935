"""A simulation's state as named arrays, from which it goes on bit for bit."""

import json
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from beadsmith.simulation.barostat import VolumeMoves
from beadsmith.simulation.guards import StoppedReplica
from beadsmith.simulation.noise import draw_block
from beadsmith.simulation.state import State, keep_replicas, place_sites, refresh_neighbours
from beadsmith.simulation.tally import Tally
from beadsmith.simulation.tempering import Exchanges, set_temperatures

_TENSORS = ("positions", "velocities", "forces", "energy", "virial")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a run is."""

    state: State
    """Replicas that are still running."""
    tally: Tally
    """What is known about the frames saved so far."""
    stopped: tuple[StoppedReplica, ...] = ()
    """Replicas that were taken out."""
    exchanges: Exchanges | None = None
    """Where replicas stand on their ladders, under parallel tempering."""
    volumes: VolumeMoves | None = None
    """How volumes change, at constant pressure."""
    seconds: float = 0.0
    """Wall time spent in the loop so far [s]."""


def pack_standing(standing: Standing) -> dict[str, np.ndarray]:
    """Return everything a restart needs as arrays.

    Random numbers are a function of seed, replica and step, and the neighbour list is made anew at every saved frame,
    so neither is stored.
    """
    state, tally = standing.state, standing.tally
    arrays = {name: getattr(state, name).cpu().numpy() for name in _TENSORS}
    arrays |= {f"tally_{name}": value for name, value in vars(tally).items()}
    if standing.exchanges is not None:
        arrays |= {f"exchanges_{name}": value for name, value in vars(standing.exchanges).items()}
    if standing.volumes is not None and state.system.cell is not None:
        arrays |= {f"volumes_{name}": value for name, value in vars(standing.volumes).items()}
        arrays["cell"] = state.system.cell.cpu().numpy()
    arrays["replica"] = state.replica.cpu().numpy()
    arrays["step"] = np.array(state.step)
    arrays["seconds"] = np.array(standing.seconds)
    stopped = json.dumps([asdict(entry) for entry in standing.stopped])
    arrays["stopped"] = np.frombuffer(stopped.encode(), dtype=np.uint8)
    return arrays


def unpack_standing(arrays: dict[str, np.ndarray], fresh: State) -> Standing:
    """Return the standing that `pack_standing` stored.

    Parameters
    ----------
    arrays : What was stored.
    fresh : State of the same run at step 0, which gives all that never changes.
    """
    device = fresh.positions.device

    def tensor(name: str) -> Tensor:
        return torch.as_tensor(arrays[name], device=device)

    state = keep_replicas(fresh, torch.isin(fresh.replica, tensor("replica")))
    exchanges = None
    if fields := _strip("exchanges_", arrays):
        exchanges = Exchanges(**fields)
        state = set_temperatures(state, exchanges.temperatures[exchanges.rung[state.replica.cpu().numpy()]])
    volumes = None
    if fields := _strip("volumes_", arrays):
        volumes = VolumeMoves(**fields)
        state = replace(state, system=replace(state.system, cell=tensor("cell")))
    step = int(arrays["step"])
    replicas = state.replica.tolist()
    state = replace(
        place_sites(state, tensor("positions")),
        velocities=tensor("velocities"),
        forces=tensor("forces"),
        energy=tensor("energy"),
        virial=tensor("virial"),
        step=step,
        noise=draw_block(fresh.seed, replicas, step=step, n_sites=fresh.n_sites, device=device),
    )
    tally = Tally(**_strip("tally_", arrays))
    stopped = [
        StoppedReplica(**{**entry, "closest_sites": entry["closest_sites"] and tuple(entry["closest_sites"])})
        for entry in json.loads(arrays["stopped"].tobytes())
    ]
    return Standing(
        state=refresh_neighbours(state),
        tally=tally,
        stopped=tuple(stopped),
        exchanges=exchanges,
        volumes=volumes,
        seconds=float(arrays["seconds"]),
    )


def _strip(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
