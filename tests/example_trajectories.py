"""Synthetic bead trajectories with known statistics, for the tests of analysis, diagnostics and report."""

import numpy as np

from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import GAS_CONSTANT

TEMPERATURE = 300.0
MASS = 32.0


def make_trajectory(positions, *, cell=None, types=None, type_names=("bead",), spacing=0.2, **fields):
    """Return a trajectory of one-bead molecules from positions (n_frames, n_beads, 3) in a constant cell."""
    positions = np.asarray(positions)
    n_frames, n_beads, _ = positions.shape
    types = np.zeros(n_beads, dtype=np.int64) if types is None else np.asarray(types)
    return Trajectory(
        topology=build_bead_topology(type_names=type_names, types=types, masses=np.full(len(type_names), MASS)),
        state_point=StatePoint(temperature=TEMPERATURE),
        positions=positions.astype(np.float32),
        times=fields.pop("times", spacing * np.arange(n_frames)),
        cell=None if cell is None else np.repeat(np.asarray(cell, dtype=np.float32)[None], n_frames, axis=0),
        **fields,
    )


def make_ideal_gas(generator, *, n_frames=100, n_beads=60, cell=None, **options):
    """Return independent frames of beads that do not interact, with thermal velocities."""
    cell = np.eye(3) * 2.0 if cell is None else cell
    positions = generator.random((n_frames, n_beads, 3)) @ cell
    thermal_speed = np.sqrt(GAS_CONSTANT * TEMPERATURE / MASS)
    velocities = generator.normal(0.0, thermal_speed, positions.shape).astype(np.float32)
    return make_trajectory(positions, cell=cell, velocities=velocities, **options)


def make_random_walk(generator, *, diffusion, n_frames=400, n_beads=100, spacing=0.2, edge=3.0, **options):
    """Return Brownian beads of known diffusion coefficient [nm²/ps], wrapped into a cubic cell."""
    steps = generator.normal(0.0, np.sqrt(2.0 * diffusion * spacing), (n_frames, n_beads, 3))
    positions = (generator.random((1, n_beads, 3)) * edge + np.cumsum(steps, axis=0)) % edge
    return make_trajectory(positions, cell=np.eye(3) * edge, spacing=spacing, **options)


def make_liquid(generator, *, n_frames=60, n_beads=64, edge=1.9, amplitude=0.05, spacing=0.2, **options):
    """Return a liquid-like trajectory: beads that swing about a jittered lattice, with all fields of a real file.

    Forces are the exact ones of the harmonic wells, so their statistics are known too.
    """
    side = round(n_beads ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_beads]
    sites = (grid + 0.5) * edge / side + generator.normal(0.0, 0.02, (n_beads, 3))
    thermal_speed = np.sqrt(GAS_CONSTANT * TEMPERATURE / MASS)
    displacement = generator.normal(0.0, amplitude, (n_frames, n_beads, 3))
    forces = -GAS_CONSTANT * TEMPERATURE / amplitude**2 * displacement
    virial = np.repeat(-0.2 * n_beads * GAS_CONSTANT * TEMPERATURE * np.eye(3)[None], n_frames, axis=0)
    return make_trajectory(
        (sites + displacement) % edge,
        cell=np.eye(3) * edge,
        spacing=spacing,
        forces=forces.astype(np.float32),
        velocities=generator.normal(0.0, thermal_speed, forces.shape).astype(np.float32),
        energy=generator.normal(-1000.0, 10.0, n_frames),
        virial=virial + generator.normal(0.0, 20.0, virial.shape),
        **options,
    )
