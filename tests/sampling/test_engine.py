"""Choice of the OpenMM platform, and engine states that survive a process."""

import numpy as np
import openmm
import pytest

from beadsmith.errors import InputError
from beadsmith.sampling.engine import Platform, choose_platform, restore_state_, save_state


def has(name):
    """Return whether OpenMM has a platform here."""
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    return name in names


@pytest.mark.skipif(has("CUDA") or has("OpenCL"), reason="auto takes the GPU platform that is installed here")
@pytest.mark.parametrize(("n_particles", "name"), [(99, "Reference"), (100, "CPU")])
def test_auto_takes_the_cpu_platform_from_100_particles_on(n_particles, name):
    assert choose_platform("auto", threads=None, n_particles=n_particles).name == name


def test_threads_are_those_asked_for():
    assert choose_platform("CPU", threads=3, n_particles=1000).threads == 3


@pytest.mark.parametrize(("n_particles", "threads"), [(100, 1), (600, 2), (1000, 4), (100000, 8)])
def test_small_systems_do_not_take_all_cores(n_particles, threads, monkeypatch):
    monkeypatch.setattr("beadsmith.sampling.engine.count_cores", lambda: 8)
    assert choose_platform("CPU", threads=None, n_particles=n_particles).threads == threads


@pytest.mark.skipif(has("CUDA"), reason="this machine has the CUDA platform")
def test_missing_platform_is_refused_and_usable_ones_are_named():
    with pytest.raises(InputError, match=r"'CUDA' cannot be used.*Use auto or one of CPU, Reference"):
        choose_platform("CUDA", threads=None, n_particles=1000)


def context_of(name, seed):
    """Return a context of ten free particles under Langevin dynamics."""
    system = openmm.System()
    for _ in range(10):
        system.addParticle(10.0)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.004)
    integrator.setRandomNumberSeed(seed)
    return Platform(name=name, threads=1).create_context(system, integrator)


def velocities(context):
    """Return the velocities of a context."""
    return context.getState(velocities=True).getVelocities(asNumpy=True)._value


@pytest.mark.parametrize("name", ["Reference", "CPU"])
def test_restored_state_goes_on_with_the_same_random_numbers(name):
    context = context_of(name, 1)
    context.setPositions(np.zeros((10, 3)))
    context.getIntegrator().step(10)
    state = save_state(context)
    context.getIntegrator().step(10)
    other = context_of(name, 2)
    assert restore_state_(other, state)
    other.getIntegrator().step(10)
    np.testing.assert_array_equal(velocities(other), velocities(context))


def test_state_of_another_engine_goes_on_from_positions_and_velocities():
    context = context_of("Reference", 1)
    context.setPositions(np.ones((10, 3)))
    context.getIntegrator().step(10)
    state = save_state(context)
    other = context_of("CPU", 2)
    assert not restore_state_(other, state)
    np.testing.assert_array_equal(velocities(other), velocities(context))
