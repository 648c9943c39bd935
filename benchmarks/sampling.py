"""Steps per second of GROMACS and of OpenMM's CPU platform on the same liquid, in turns: python -m benchmarks.sampling.

With one thread the clock is processor time, which other users of the machine disturb least; otherwise elapsed time.
Starting `gmx mdrun` counts for GROMACS; packing, relaxing and `gmx grompp` count for neither.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import openmm

from beadsmith.sampling.engine import Platform
from beadsmith.sampling.gromacs.inputs import Span, format_parameters, format_structure
from beadsmith.sampling.gromacs.program import (
    PARAMETERS,
    STRUCTURE,
    TOPOLOGY,
    prepare_run,
    require_gromacs,
    run_dynamics,
)
from beadsmith.sampling.gromacs.topology import format_topology
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, build_system
from beadsmith.sampling.virial import build_virial_engine, compute_virial
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE

TEMPERATURE, DENSITY = 298.0, 0.785 * GRAM_PER_CUBIC_CENTIMETRE


def read_clock(threads: int) -> float:
    """Return seconds of this process and its ended children, or elapsed ones for several threads."""
    if threads > 1:
        return time.perf_counter()
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--steps", type=int, default=200, help="steps of OpenMM in a round; GROMACS does five times as many"
    )
    options = parser.parse_args()
    settings = SamplingSettings()
    system = SystemSettings(molecules=(MoleculeCount(name="methanol", count=options.molecules),))
    atoms = build_system(system, density=DENSITY, cutoff=settings.cutoff, seed=1, hydrogen_mass=settings.hydrogen_mass)
    gromacs, platform = require_gromacs(), Platform(name="CPU", threads=options.threads)
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, settings.friction, settings.timestep)
    context = platform.create_context(openmm.XmlSerializer.clone(atoms.system), integrator)
    context.setPositions(atoms.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 100)
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    integrator.step(100)
    state = context.getState(positions=True, velocities=True)
    positions, velocities = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
    virials = build_virial_engine(atoms.system, atoms.topology, platform)
    cell = atoms.edge * np.eye(3)
    seconds: dict[str, list[float]] = {"OpenMM step": [], "GROMACS step": [], "virial of a frame": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        span = Span(first=0, n_steps=5 * options.steps, temperature=TEMPERATURE, pressure=None, seed=1)
        (folder / PARAMETERS).write_text(format_parameters(settings, span))
        (folder / TOPOLOGY).write_text(format_topology(atoms.system, atoms.topology))
        (folder / STRUCTURE).write_text(format_structure(atoms.topology, positions, velocities, cell))
        prepare_run(gromacs, folder)
        for _ in range(options.rounds):
            marks = [read_clock(options.threads)]
            integrator.step(options.steps)
            context.getState(energy=True)
            marks.append(read_clock(options.threads))
            run_dynamics(
                gromacs, folder, threads=options.threads, has_checkpoint=False, watch=lambda process: process.wait()
            )
            marks.append(read_clock(options.threads))
            compute_virial(virials, positions, cell)
            marks.append(read_clock(options.threads))
            spent = np.diff(marks) / (options.steps, 5 * options.steps, 1)
            for entry, value in zip(seconds.values(), spent.tolist(), strict=True):
                entry.append(value)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    clock = "processor time" if options.threads == 1 else "elapsed time"
    print(f"{options.molecules} methanol, {options.threads} threads, {clock}, {options.rounds} rounds in turns")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    for name, values in seconds.items():
        low, high = np.quantile(values, (0.25, 0.75))
        print(f"{name}: median {1e3 * medians[name]:.3g} ms, quartiles {1e3 * low:.3g} to {1e3 * high:.3g} ms")
    openmm_step, step, virial = medians.values()
    print(f"ratio of medians, steps alone: {openmm_step / step:.2f}")
    for n_steps in (50, 250):
        ratio = (n_steps * openmm_step + virial) / (n_steps * step + virial + openmm_step)
        print(f"ratio with labels, a frame every {n_steps} steps: {ratio:.2f}")


if __name__ == "__main__":
    main()
