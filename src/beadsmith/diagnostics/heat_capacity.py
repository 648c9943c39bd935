"""The heat capacity of a coarse-grained run, from a force field that knows energy and entropy apart."""

from dataclasses import replace

import numpy as np

from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.thermodynamics import HeatCapacity, measure_heat_capacity
from beadsmith.diagnostics.bead_series import BeadSeries


def measure_bead_heat_capacity(
    series: BeadSeries, *, hidden: Measurement | None = None, n_blocks: int = 10
) -> HeatCapacity | None:
    """Return the configurational heat capacity that a force field predicts along its own simulation, or None.

    C = Var U(R)/(kT²) + <dU/dT>, of one molecule. Energies of the simulation are free energies; here it is U(R) that
    fluctuates. dU/dT at fixed beads has a part that no bead feels: W is known up to a function of temperature alone, so
    forces leave dU/dT open by a number, which energies of frames at several temperatures tell (`hidden`).

    None at constant pressure, where energies fluctuate with the volume, and where dU/dT has a surface whose zero is
    unknown. Without such a surface and without `hidden` the second part is zero, and missing in the sum.

    Parameters
    ----------
    series : Frames of the simulation.
    hidden : The part of dU/dT that no bead feels, of one molecule [J/mol/K]; None if it is unknown.
    n_blocks : Blocks of frames for the errors.
    """
    if not series.has_constant_volume or (hidden is None and np.any(series.slope != 0.0)):
        return None
    found = measure_heat_capacity(
        series.energy,
        series.slope,
        temperature=series.state_temperature,
        n_molecules=series.topology.n_molecules,
        n_blocks=n_blocks,
        segment=series.segment,
    )
    if hidden is None:
        return found
    return HeatCapacity(total=_add(found.total, hidden), between=found.between, within=_add(found.within, hidden))


def _add(one: Measurement, other: Measurement) -> Measurement:
    return replace(
        one,
        value=one.value + other.value,
        standard_error=float(np.hypot(one.standard_error, other.standard_error)),
    )
