"""The other two files that `gmx grompp` reads: the run parameters (mdp) and the starting structure (gro)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from beadsmith.sampling.gromacs.topology import NAME_LENGTH
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.topology import Topology
from beadsmith.units import BAR

_PME_ORDER = 5
"""OpenMM's order of the splines on the mesh."""

_COMPRESSIBILITY = 1e-4
"""Compressibility of an organic liquid [1/bar]: with the time constant it sets how fast the volume moves, not where."""

_PRESSURE_TIME = 1.0
"""Time constant of the pressure [ps]."""

_PRESSURE_STEPS = 10
"""Steps between changes of the volume."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which steps of a run are done, and at which state."""

    first: int
    """Step that the run starts from, or the beginning of the run if a checkpoint knows it."""
    n_steps: int
    """Number of steps after `first`."""
    temperature: float
    """Temperature [K]."""
    pressure: float | None
    """Pressure [kJ/mol/nm³], or None for a fixed box."""
    seed: int
    """Fixes the random forces, which are a function of seed, step and atom."""


def format_parameters(settings: SamplingSettings, span: Span) -> str:
    """Return the text of an mdp file: the dynamics of `beadsmith.sampling.replicas` in GROMACS's terms.

    ``sd`` is a leapfrog step whose velocity meets friction and noise in the middle, the scheme of OpenMM's
    LangevinMiddleIntegrator. Nothing is shifted or switched at the cutoff, and both tails of Lennard-Jones are
    corrected for. Ewald sums have OpenMM's splitting parameter α = sqrt(-ln 2δ)/r_c and its mesh spacing
    3 δ^(1/5)/(2α).
    Source: N. Goga et al., J. Chem. Theory Comput. 8, 3637 (2012) (sd); M. Bernetti, G. Bussi, J. Chem. Phys. 153,
    114107 (2020) (volume); OpenMM user guide, "Coulomb Interaction With Particle Mesh Ewald".
    """
    tolerance = settings.ewald_tolerance
    reduced = math.sqrt(-math.log(2.0 * tolerance))
    values: dict[str, object] = {
        "integrator": "sd",
        "dt": f"{settings.timestep:.10g}",
        "init-step": span.first,
        "nsteps": span.n_steps,
        "tc-grps": "System",
        "tau-t": f"{1.0 / settings.friction:.10g}",
        "ref-t": f"{span.temperature:.10g}",
        "ld-seed": span.seed,
        "gen-vel": "no",
        # the thermostat acts on the centre of mass, too
        "comm-mode": "None",
        "constraints": "none",
        "constraint-algorithm": "LINCS",
        # several bonds to heavy hydrogens on one light carbon couple strongly
        "lincs-order": 6,
        "lincs-iter": 2,
        "cutoff-scheme": "Verlet",
        "coulombtype": "PME",
        "coulomb-modifier": "None",
        "rcoulomb": f"{settings.cutoff:.10g}",
        "ewald-rtol": f"{math.erfc(reduced):.10g}",
        "pme-order": _PME_ORDER,
        "fourierspacing": f"{1.5 * tolerance**0.2 * settings.cutoff / reduced:.10g}",
        "vdwtype": "Cut-off",
        "vdw-modifier": "None",
        "rvdw": f"{settings.cutoff:.10g}",
        "DispCorr": "AllEnerPres",
        # velocities, too: a run goes on from them where a checkpoint cannot be read
        "nstxout": settings.steps_per_frame,
        "nstvout": settings.steps_per_frame,
        "nstlog": 0,
        "nstenergy": 0,
    }
    if span.pressure is not None:
        values |= {
            "pcoupl": "C-rescale",
            "pcoupltype": "isotropic",
            "ref-p": f"{span.pressure / BAR:.10g}",
            "tau-p": _PRESSURE_TIME,
            "nstpcouple": _PRESSURE_STEPS,
            "compressibility": _COMPRESSIBILITY,
        }
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def format_structure(
    topology: Topology,
    positions: Float[np.ndarray, "atoms 3"],
    velocities: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
) -> str:
    """Return the text of a gro file with seven decimals; whole molecules are moved into the box by their first atoms.

    Parameters
    ----------
    topology : Names and molecules.
    positions : Positions [nm], molecules whole.
    velocities : Velocities [nm/ps].
    cell : Rectangular cell, vectors as rows [nm].
    """
    edges = np.diag(cell)
    firsts = np.searchsorted(topology.molecule_index, topology.molecule_index)
    inside = positions - edges * np.floor(positions[firsts] / edges)
    lines = ["written by beadsmith", str(topology.n_sites)]
    for atom, (place, velocity) in enumerate(zip(inside, velocities, strict=True)):
        # GROMACS takes the number of decimals from the distance between points; numbers run over after 99999
        number, molecule = (atom + 1) % 100_000, int(topology.molecule_index[atom] + 1) % 100_000
        numbers = "".join(f"{value:12.7f}" for value in place) + "".join(f"{value:12.8f}" for value in velocity)
        lines.append(f"{molecule:5d}{'MOL':<5}{topology.names[atom][:NAME_LENGTH]:>5}{number:5d}{numbers}")
    lines.append(" ".join(f"{edge:.9f}" for edge in edges))
    return "\n".join(lines) + "\n"
