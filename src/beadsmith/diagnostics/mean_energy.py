"""Mean energy and entropy of a coarse-grained run beside the reference, and the zero of energy that forces leave open.

If W(R;T) = U - T S is exact, <U(R)> over the beads is the mean potential energy of the atoms, for U(R) = <u>_R. Forces
know W up to a function of temperature alone, so they know U up to c(T), the energy that no bead feels. It is read from
the training frames, where their mean u - U(R) is the best constant there is, and taken as a straight line in
temperature, which is exact for harmonic motions whose frequencies do not depend on the beads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.thermodynamics import measure_mean
from beadsmith.diagnostics.bead_series import BeadSeries
from beadsmith.topology import Topology, group_equal_molecules
from beadsmith.units import JOULE

ENERGY_UNIT, ENTROPY_UNIT = "kJ/mol", "J/mol/K"

_SAME_TEMPERATURE = 1e-6
"""Relative difference of temperatures that is rounding."""


@dataclass(frozen=True, kw_only=True)
class _State:
    """Frames of one training file at one temperature."""

    temperature: float
    """Temperature [K]."""
    hidden: Float[np.ndarray, "frames"]
    """u - U(R) of one molecule [kJ/mol]."""
    segment: Int[np.ndarray, "frames"]
    """Run of each frame."""
    is_reference: bool
    """Whether these are the very frames that the simulation is compared with."""


@dataclass(frozen=True, kw_only=True)
class EnergyZero:
    """The energy c(T) that no bead feels, of one molecule, at the temperature of a simulation."""

    states: tuple[_State, ...]
    """What it is read from."""
    value_weights: Float[np.ndarray, "states"]
    """c is the sum of these times the mean u - U(R) of each state."""
    slope_weights: Float[np.ndarray, "states"] | None
    """The same for dc/dT [1/K]; None for states of one temperature."""

    @property
    def temperatures(self) -> list[float]:
        """Temperatures of the states [K], rising."""
        return sorted({state.temperature for state in self.states})

    def measure_slope(self, n_blocks: int) -> Measurement | None:
        """Return dc/dT [J/mol/K], the part of the heat capacity of one molecule that no bead feels."""
        if self.slope_weights is None:
            return None
        return _add_means(self.states, self.slope_weights / JOULE, unit=ENTROPY_UNIT, n_blocks=n_blocks)


def explain_missing_zero(training: Sequence[BeadSeries], reference: BeadSeries) -> str | None:
    """Return why the zero of energy cannot be told at the reference's state, or None if it can.

    Parameters
    ----------
    training : Training frames, one entry a file.
    reference : Mapped reference at the state of the simulation.
    """
    if reference.atomistic_energy is None:
        return "the reference has no energies"
    known = [series for series in training if series.atomistic_energy is not None]
    if not known:
        return "the training frames have no energies, or are no longer where they were"
    if any(_find_composition(series.topology) != _find_composition(reference.topology) for series in known):
        return "the training frames are of another composition"
    temperatures = sorted({float(value) for series in known for value in series.temperature})
    at = reference.state_temperature
    if len(temperatures) == 1 and not np.isclose(temperatures[0], at, rtol=_SAME_TEMPERATURE, atol=0.0):
        return (
            f"all training frames are at {temperatures[0]:g} K, which does not tell how the energy that no bead feels "
            f"differs at {at:g} K"
        )
    return None


def find_zero(training: Sequence[BeadSeries], reference: BeadSeries, *, own: int | None = None) -> EnergyZero:
    """Return the zero of energy at the reference's state; `explain_missing_zero` must have found none missing.

    With one training temperature it is the mean over its states, with several the least-squares line.

    Parameters
    ----------
    training : Training frames, one entry a file.
    reference : Mapped reference at the state of the simulation.
    own : Which of the training files is the reference itself, if one is.
    """
    states = []
    for number, series in enumerate(training):
        if series.atomistic_energy is None:
            continue
        hidden = (series.atomistic_energy - series.energy) / series.topology.n_molecules
        for temperature in np.unique(series.temperature):
            chosen = series.temperature == temperature
            states.append(
                _State(
                    temperature=float(temperature),
                    hidden=hidden[chosen],
                    segment=series.segment[chosen],
                    is_reference=number == own and bool(chosen.all()),
                )
            )
    offsets = np.array([state.temperature for state in states]) - reference.state_temperature
    if np.ptp(offsets) == 0.0:
        return EnergyZero(
            states=tuple(states), value_weights=np.full(len(states), 1.0 / len(states)), slope_weights=None
        )
    value_weights, slope_weights = np.linalg.pinv(np.stack([np.ones(len(states)), offsets], axis=1))
    return EnergyZero(states=tuple(states), value_weights=value_weights, slope_weights=slope_weights)


def measure_bead_energy(series: BeadSeries, n_blocks: int) -> Measurement:
    """Return <U(R)> of one molecule [kJ/mol], with the force field's own zero."""
    return _measure(series, series.energy, unit=ENERGY_UNIT, n_blocks=n_blocks)


def measure_bead_entropy(series: BeadSeries, n_blocks: int) -> Measurement:
    """Return <S(R)> of one molecule [J/mol/K], with the force field's own zero."""
    return _measure(series, series.entropy / JOULE, unit=ENTROPY_UNIT, n_blocks=n_blocks)


def measure_atomistic_energy(series: BeadSeries, n_blocks: int) -> Measurement | None:
    """Return the mean potential energy of the atoms, of one molecule [kJ/mol]; None without energies."""
    if series.atomistic_energy is None:
        return None
    return _measure(series, series.atomistic_energy, unit=ENERGY_UNIT, n_blocks=n_blocks)


def measure_model_energy(simulation: BeadSeries, zero: EnergyZero, n_blocks: int) -> Measurement:
    """Return <U(R)> + c(T) of one molecule [kJ/mol]: the mean potential energy that the force field predicts."""
    return _sum(
        measure_bead_energy(simulation, n_blocks),
        _add_means(zero.states, zero.value_weights, unit=ENERGY_UNIT, n_blocks=n_blocks),
    )


def compare_energies(simulation: BeadSeries, reference: BeadSeries, zero: EnergyZero, n_blocks: int) -> Measurement:
    """Return by how much the predicted mean potential energy of one molecule is off the reference's [kJ/mol].

    Where the reference's frames are among those that the zero is read from, their common noise counts once.
    """
    assert reference.atomistic_energy is not None
    own = -reference.atomistic_energy / reference.topology.n_molecules
    weights, states, is_counted = list(zero.value_weights), list(zero.states), False
    for number, state in enumerate(states):
        if state.is_reference:
            # one series: the weighted state minus what it is compared with
            states[number] = replace(state, hidden=weights[number] * state.hidden + own)
            weights[number], is_counted = 1.0, True
    found = _sum(
        measure_bead_energy(simulation, n_blocks),
        _add_means(tuple(states), np.array(weights), unit=ENERGY_UNIT, n_blocks=n_blocks),
    )
    if is_counted:
        return found
    theirs = _measure(reference, -reference.atomistic_energy, unit=ENERGY_UNIT, n_blocks=n_blocks)
    return _sum(found, theirs)


def _measure(series: BeadSeries, values: Float[np.ndarray, "frames"], *, unit: str, n_blocks: int) -> Measurement:
    return measure_mean(
        values / series.topology.n_molecules,
        unit=unit,
        n_blocks=n_blocks,
        segment=series.segment,
        weight=series.weight,
    )


def _add_means(
    states: tuple[_State, ...], weights: Float[np.ndarray, "states"], *, unit: str, n_blocks: int
) -> Measurement:
    """Return a weighted sum of the means of independent states."""
    means = [measure_mean(state.hidden, unit=unit, n_blocks=n_blocks, segment=state.segment) for state in states]
    return Measurement(
        value=float(sum(weight * mean.value for weight, mean in zip(weights, means, strict=True))),
        standard_error=float(
            np.sqrt(sum((weight * mean.standard_error) ** 2 for weight, mean in zip(weights, means, strict=True)))
        ),
        unit=unit,
        n_samples=min(mean.n_samples for mean in means),
    )


def _sum(one: Measurement, other: Measurement) -> Measurement:
    """Return the sum of two independent measurements."""
    return Measurement(
        value=one.value + other.value,
        standard_error=float(np.hypot(one.standard_error, other.standard_error)),
        unit=one.unit,
        n_samples=min(one.n_samples, other.n_samples),
    )


def _find_composition(topology: Topology) -> dict[str, float]:
    """Return the share of each kind of molecule."""
    kinds = group_equal_molecules(topology)
    return {kind.name: round(len(kind.sites) / topology.n_molecules, 9) for kind in kinds}
