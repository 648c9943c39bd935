"""What no physical system does: the tests that stop a replica, and what is reported about one that stopped."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.simulation.state import State, StepInfo, find_closest_pair


@dataclass(frozen=True, kw_only=True)
class StoppedReplica:
    """One replica that was taken out of a run."""

    replica: int
    """Number of the replica."""
    step: int
    """Step that was refused, counted from the start of the equilibration."""
    reason: str
    """What happened."""
    closest_distance: float
    """Smallest distance between two molecules in its last good configuration [nm]; inf if none was near."""
    closest_sites: tuple[int, int] | None
    """The sites of that pair."""

    def describe(self) -> str:
        """Return one line for a message."""
        where = f"replica {self.replica} at step {self.step}: {self.reason}"
        if self.closest_sites is None:
            return where
        a, b = self.closest_sites
        return f"{where}; closest pair before: sites {a} and {b}, {self.closest_distance:.3f} nm apart"


def find_refused_steps(state: State, info: StepInfo) -> list[StoppedReplica]:
    """Return the replicas whose last step was refused by `move_sites`."""
    if info.displacement is None:
        return []
    reasons = {}
    for row in torch.nonzero(~state.is_alive).flatten().tolist():
        length = float(info.displacement[row])
        reasons[row] = (
            f"a bead moved {length:.3g} nm in one step, more than {state.max_displacement} nm"
            if length < torch.inf
            else "a force was not finite"
        )
    return _describe(state, reasons)


def find_overheated(
    state: State, kinetic_temperature: Float[Tensor, "replicas"], *, max_ratio: float
) -> list[StoppedReplica]:
    """Return the replicas with a force or energy that is not finite, or a temperature far beyond their heat bath's.

    Parameters
    ----------
    kinetic_temperature : Temperature of each replica [K]; NaN passes, for integrators without velocities.
    max_ratio : Largest believed kinetic temperature, in units of the heat bath's.
    """
    is_broken = ~(torch.isfinite(state.forces).all(dim=2).all(dim=1) & torch.isfinite(state.energy))
    is_hot = kinetic_temperature > max_ratio * state.temperature
    reasons = dict.fromkeys(torch.nonzero(is_broken).flatten().tolist(), "a force was not finite")
    for row in torch.nonzero(is_hot & ~is_broken).flatten().tolist():
        reasons[row] = (
            f"the kinetic temperature was {float(kinetic_temperature[row]):.4g} K, "
            f"more than {max_ratio:g} times the heat bath's {float(state.temperature[row]):g} K"
        )
    return _describe(state, reasons)


def find_escaped(
    state: State, volume: Float[Tensor, "replicas"], start_volume: Float[Tensor, "replicas"], *, max_ratio: float
) -> list[StoppedReplica]:
    """Return the replicas whose cell has grown or shrunk by more than a factor since the start of the run.

    Parameters
    ----------
    volume, start_volume : Volume of each replica of the state, now and at the start [nm³].
    max_ratio : Largest believed ratio of the two.
    """
    ratio = volume / start_volume
    is_out = ~((ratio < max_ratio) & (ratio > 1.0 / max_ratio))
    return _describe(
        state,
        {
            row: f"the volume was {float(volume[row]):.4g} nm³, {float(ratio[row]):.3g} times that of the start: "
            "at this pressure the force field boils or collapses"
            for row in torch.nonzero(is_out).flatten().tolist()
        },
    )


def _describe(state: State, reasons: dict[int, str]) -> list[StoppedReplica]:
    stopped = []
    for row, reason in sorted(reasons.items()):
        closest = find_closest_pair(state, row)
        stopped.append(
            StoppedReplica(
                replica=int(state.replica[row]),
                step=state.step,
                reason=reason,
                closest_distance=torch.inf if closest is None else closest[0],
                closest_sites=None if closest is None else closest[1:],
            )
        )
    return stopped
