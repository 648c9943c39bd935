"""Parallel tempering: replicas exchange temperatures, so that barriers are crossed where it is hot.

Replicas form ladders, one rung a temperature. A replica keeps its number, its random numbers and its memory when it
climbs; what changes is the temperature of its heat bath, its velocities by the root of the ratio, and its potential
where that depends on temperature.
Source: Y. Sugita and Y. Okamoto, Chem. Phys. Lett. 314, 141 (1999), DOI 10.1016/S0009-2614(99)01123-9.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from beadsmith.batch import Prediction
from beadsmith.energy import EnergyModel, predict
from beadsmith.errors import InputError
from beadsmith.simulation.barostat import measure_volumes
from beadsmith.simulation.noise import EXCHANGES, draw_uniforms
from beadsmith.simulation.state import State
from beadsmith.units import GAS_CONSTANT, Unit

_BOTTOM, _NOWHERE, _TOP = -1, 0, 1


@dataclass(frozen=True, kw_only=True)
class TemperingSettings:
    """Temperatures of parallel tempering, and how often neighbours try to exchange them."""

    temperatures: tuple[Annotated[float, Unit("K")], ...] = ()
    """Temperatures in rising order, the run's own among them; give these, or highest and count."""
    highest: Annotated[float, Unit("K")] | None = None
    """Highest temperature of a geometric ladder that begins at the run's own."""
    count: int | None = None
    """Number of temperatures of the geometric ladder."""
    interval: Annotated[float, Unit("ps")] = 1.0
    """Time between attempts; longer than the energy's memory."""

    def __post_init__(self) -> None:
        """Refuse a ladder that is none.

        Raises
        ------
        InputError : not exactly one of the two forms is given, or there are fewer than two temperatures, not rising.
        """
        is_geometric = self.highest is not None and self.count is not None
        if bool(self.temperatures) == is_geometric or (self.highest is None) != (self.count is None):
            raise InputError(
                "'tempering' takes either a list, or a highest temperature and a number of them",
                fix="Write 'temperatures: [300 K, 340 K, 385 K]', or 'highest: 450 K' with 'count: 6'.",
            )
        if self.n_temperatures < 2:
            raise InputError(f"'tempering' has {self.n_temperatures} temperatures, expected at least 2")
        rising = np.array(self.temperatures)
        if not (np.isfinite(rising).all() and (rising > 0.0).all() and (np.diff(rising) > 0.0).all()):
            raise InputError(f"'tempering.temperatures' is {list(self.temperatures)} K, expected rising values > 0")
        if not (np.isfinite(self.interval) and self.interval > 0.0):
            raise InputError(f"'tempering.interval' is {self.interval}, expected > 0")

    @property
    def n_temperatures(self) -> int:
        """Number of rungs."""
        return len(self.temperatures) if self.count is None else self.count


@dataclass(frozen=True, kw_only=True)
class Exchanges:
    """Where every replica stands on its ladder, and what became of all attempts so far."""

    temperatures: Float[np.ndarray, "rungs"]
    """Temperature of each rung [K]."""
    rung: Int[np.ndarray, "replicas"]
    """Rung of each replica; a replica belongs to the ladder ``replica // n_rungs`` for ever."""
    attempts: Int[np.ndarray, "pairs"]
    """Attempts between rungs k and k + 1."""
    acceptances: Int[np.ndarray, "pairs"]
    """How many of them were accepted."""
    last_end: Int[np.ndarray, "replicas"]
    """The end of the ladder a replica was at last: −1 bottom, 1 top, 0 none so far."""
    tops: Int[np.ndarray, "replicas"]
    """Times a replica came to the top from the bottom."""
    round_trips: Int[np.ndarray, "replicas"]
    """Times a replica came back to the bottom from the top, having been at the bottom before."""

    @property
    def n_rungs(self) -> int:
        """Number of temperatures."""
        return len(self.temperatures)

    @property
    def n_ladders(self) -> int:
        """Number of independent ladders."""
        return len(self.rung) // self.n_rungs

    @property
    def segments(self) -> Int[np.ndarray, "replicas"]:
        """Number under which each replica's frames are saved now: ladders of the lowest rung first."""
        return self.rung * self.n_ladders + np.arange(len(self.rung)) // self.n_rungs


def find_ladder(settings: TemperingSettings, temperature: float) -> Float[np.ndarray, "rungs"]:
    """Return the temperatures of all rungs [K]; a geometric ladder has T_k = T_0 (T_top / T_0)^(k / (n − 1)).

    Parameters
    ----------
    settings : Which temperatures.
    temperature : The run's own temperature [K].

    Raises
    ------
    InputError : the run's own temperature is not among those listed, or not below the highest.
    """
    if settings.highest is not None:
        if not settings.highest > temperature:
            raise InputError(
                f"'tempering.highest' is {settings.highest:g} K, expected more than the run's own {temperature:g} K"
            )
        return np.geomspace(temperature, settings.highest, settings.n_temperatures)
    ladder = np.array(settings.temperatures)
    if not np.isclose(ladder, temperature, rtol=1e-9).any():
        raise InputError(
            f"the run's own temperature, {temperature:g} K, is not in 'tempering.temperatures'",
            fix="Add it: its frames are what the run is evaluated by.",
        )
    return ladder


def start_ladders(temperatures: Float[np.ndarray, "rungs"], n_replicas: int) -> Exchanges:
    """Return ladders before the first attempt: consecutive replicas on consecutive rungs."""
    n_rungs = len(temperatures)
    rung = np.arange(n_replicas) % n_rungs
    nothing = np.zeros(n_replicas, dtype=np.int64)
    exchanges = Exchanges(
        temperatures=temperatures,
        rung=rung,
        attempts=np.zeros(n_rungs - 1, dtype=np.int64),
        acceptances=np.zeros(n_rungs - 1, dtype=np.int64),
        last_end=nothing,
        tops=nothing,
        round_trips=nothing,
    )
    return _note_ends(exchanges)


def set_temperatures(state: State, temperature: Float[np.ndarray, "replicas"]) -> State:
    """Return the state in heat baths of other temperatures [K], velocities scaled by the root of their ratio."""
    bath = torch.as_tensor(temperature, dtype=torch.float64, device=state.temperature.device)
    scale = torch.sqrt(bath / state.temperature)[:, None, None]
    system = replace(state.system, temperature=bath.to(state.system.temperature.dtype))
    return replace(state, temperature=bath, velocities=scale * state.velocities, system=system)


def exchange_temperatures(
    state: State, exchanges: Exchanges, force_field: EnergyModel, *, attempt: int, pressure: float | None = None
) -> tuple[State, Exchanges]:
    """Try to exchange the temperatures of neighbours on all ladders: even pairs of rungs in turn with odd ones.

    Replica a at T_i and replica b at T_j exchange with probability min(1, exp D),
    D = [W(a;T_i) - W(b;T_i)]/kT_i + [W(b;T_j) - W(a;T_j)]/kT_j, the ratio of the products of the canonical
    distributions after and before, which are therefore left as they are; kinetic energies drop out because velocities
    are scaled. For a potential that does not depend on temperature this is (1/kT_i - 1/kT_j)(W_a - W_b); otherwise each
    attempt costs one more force call, and replicas that move get the forces of their new temperature. Rungs whose
    replica has stopped take no part.

    Parameters
    ----------
    state : Replicas that run, with their energies.
    exchanges : Where they stand.
    force_field : What the replicas are simulated with.
    attempt : Number of the attempt; its parity chooses the pairs, and random numbers are a function of it.
    pressure : Pressure of cells that change [kJ/mol/nm³]: energies then are W + P V. None at constant volume.
    """
    n_rungs, n_ladders = exchanges.n_rungs, exchanges.n_ladders
    replica = state.replica.cpu().numpy()
    row = np.full((n_ladders, n_rungs), -1)
    row[replica // n_rungs, exchanges.rung[replica]] = np.arange(len(replica))
    lower, upper = row[:, attempt % 2 : -1 : 2], row[:, attempt % 2 + 1 :: 2]
    is_pair = (lower >= 0) & (upper >= 0)
    pairs = np.arange(attempt % 2, n_rungs - 1, 2)
    partner = np.arange(len(replica))
    partner[lower[is_pair]], partner[upper[is_pair]] = upper[is_pair], lower[is_pair]
    trial = _predict_elsewhere(
        state, force_field, state.temperature[torch.from_numpy(partner).to(state.replica.device)]
    )
    energy = state.energy.cpu().numpy()
    other = energy if trial is None else trial.energy.cpu().numpy()
    inverse = 1.0 / (GAS_CONSTANT * exchanges.temperatures)
    exponent = inverse[pairs] * (energy[lower] - other[upper]) + inverse[pairs + 1] * (energy[upper] - other[lower])
    if pressure is not None:
        work = pressure * measure_volumes(state).cpu().numpy()
        exponent = exponent + (inverse[pairs] - inverse[pairs + 1]) * (work[lower] - work[upper])
    chance = draw_uniforms(state.seed, EXCHANGES, index=attempt, shape=(n_ladders, n_rungs))[:, pairs]
    # written so that an energy that is not a number is never exchanged
    is_accepted = is_pair & (chance < np.exp(np.minimum(exponent, 0.0)))
    rung = exchanges.rung.copy()
    rung[replica[lower[is_accepted]]] += 1
    rung[replica[upper[is_accepted]]] -= 1
    attempts, acceptances = exchanges.attempts.copy(), exchanges.acceptances.copy()
    attempts[pairs] += is_pair.sum(axis=0)
    acceptances[pairs] += is_accepted.sum(axis=0)
    moved = _note_ends(replace(exchanges, rung=rung, attempts=attempts, acceptances=acceptances))
    if trial is not None:
        has_moved = torch.from_numpy(rung[replica] != exchanges.rung[replica]).to(state.replica.device)
        state = _take_prediction(state, trial, has_moved)
    return set_temperatures(state, moved.temperatures[rung[replica]]), moved


def _predict_elsewhere(
    state: State, force_field: EnergyModel, temperature: Float[torch.Tensor, "replicas"]
) -> Prediction | None:
    """Return the prediction at other temperatures [K], or None if it is the same at all of them."""
    if not force_field.thermal_form.depends_on_temperature:
        return None
    system = replace(state.system, temperature=temperature.to(state.system.temperature.dtype))
    return predict(force_field, system, state.skin_list.pairs)


def _take_prediction(state: State, prediction: Prediction, chosen: Bool[torch.Tensor, "replicas"]) -> State:
    """Return the state with the forces, energy and virial of some replicas replaced."""
    by_site = chosen[:, None, None]
    return replace(
        state,
        forces=torch.where(by_site, prediction.forces.double().view_as(state.forces), state.forces),
        energy=torch.where(chosen, prediction.energy.double(), state.energy),
        virial=torch.where(by_site, prediction.virial.double(), state.virial),
    )


def summarise_exchanges(exchanges: Exchanges) -> dict[str, Any]:
    """Return temperatures [K], acceptance of each pair of neighbours (null if never tried) and round trips as JSON."""
    with np.errstate(invalid="ignore"):
        acceptance = exchanges.acceptances / exchanges.attempts
    return {
        "temperatures": exchanges.temperatures.tolist(),
        "n_ladders": exchanges.n_ladders,
        "attempts": exchanges.attempts.tolist(),
        "acceptance": [None if np.isnan(value) else float(value) for value in acceptance],
        "n_at_top": int(exchanges.tops.sum()),
        "round_trips": int(exchanges.round_trips.sum()),
        "round_trips_of_replicas": exchanges.round_trips.tolist(),
    }


def _note_ends(exchanges: Exchanges) -> Exchanges:
    """Count arrivals at the ends of ladders."""
    is_top, is_bottom = exchanges.rung == exchanges.n_rungs - 1, exchanges.rung == 0
    arrives = is_top & (exchanges.last_end == _BOTTOM)
    returns = is_bottom & (exchanges.last_end == _TOP) & (exchanges.tops > 0)
    last_end = np.where(is_top, _TOP, np.where(is_bottom, _BOTTOM, exchanges.last_end))
    return replace(
        exchanges,
        last_end=last_end,
        tops=exchanges.tops + arrives,
        round_trips=exchanges.round_trips + returns,
    )
