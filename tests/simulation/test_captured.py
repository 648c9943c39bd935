"""Captured steps against the ordinary simulation: uncaptured on a CPU, and captured if there is a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.force_field import ForceField
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.tabulated import tabulate_pair_terms
from beadsmith.simulation import captured
from beadsmith.simulation.captured import CapturedLangevin, _Loop, draw_on_device
from beadsmith.simulation.guards import find_refused_steps
from beadsmith.simulation.langevin import Langevin
from beadsmith.simulation.state import init_state, keep_replicas, refresh_neighbours
from beadsmith.simulation.static_forces import StaticForces, find_obstacle
from beadsmith.units import GAS_CONSTANT
from example_force_fields import SoftPair, Trap, Well, make_force_field, make_frames, make_liquid
from host_watch import HostWatch, leave_the_host

LANGEVIN = Langevin(timestep=0.004, friction=2.0)
# rounding of 1e-16 a step, which diverging paths may enlarge a million times in less than a picosecond
TOLERANCE = 1e-9


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    return request.param


def build_force_field(kind, device):
    """Return a network with walls, in float64, with the tables that both paths then share."""
    generator = torch.Generator().manual_seed(0)
    if kind == "hipnn":
        settings = HipnnSettings(l_max=2, n_interactions=2, n_features=8, n_sensitivities=6, cutoff=0.6, soft_max=0.5)
        settings = replace(settings, pair_classes=True)
        network = build_network(settings, ("bead",), generator)
    elif kind == "mace":
        network = build_network(
            MaceSettings(n_features=4, cutoff=0.6, n_knots=64, radial_widths=(8,), n_readout=4), ("bead",), generator
        )
    else:
        network = build_network(SchnetSettings(n_features=8, n_filters=8, cutoff=0.6, n_knots=64), ("bead",), generator)
    walls = ExponentialRepulsion(
        ("bead",), joining_distances=(0.3,), joining_forces=(60.0,), decays=(40.0,), cutoff=0.5
    )
    bare = make_force_field(walls)
    force_field = ForceField(tabulate_pair_terms(bare.prior), network, bare.record)
    return force_field.double().to(device).eval().requires_grad_(False)


def start(force_field, frames, device, *, skin=0.1, max_displacement=0.05):
    return init_state(
        force_field,
        frames,
        cutoff=max(force_field.cutoff, 0.1),
        skin=skin,
        max_displacement=max_displacement,
        seed=5,
        device=device,
        dtype=torch.float64,
    )


def make_molecules(n_replicas=6):
    """Return replicas of an open system of nine beads in three chains of three."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 2, [0], indexing="ij"), axis=-1).reshape(-1, 3) * 0.33
    frames = make_frames(grid + rng.normal(scale=0.01, size=(n_replicas, 9, 3)))
    index = np.arange(9)
    bonds = np.stack([index, index + 1], axis=1)[index % 3 < 2]
    return replace(frames, topology=replace(frames.topology, molecule_index=index // 3, bonds=bonds))


def step_plainly(state, force_field, n_steps):
    for _ in range(n_steps):
        state, info = LANGEVIN.step(state, force_field)
        assert not info.has_stopped
    return state


def capture(stride, *, n_replicas=1, noise="host"):
    return CapturedLangevin(LANGEVIN, first_frame=0, stride=stride, n_replicas=n_replicas, noise=noise)


def assert_same_path(found, expected):
    for name in ("positions", "velocities"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0.0, atol=TOLERANCE)
    torch.testing.assert_close(found.forces, expected.forces, rtol=TOLERANCE, atol=1e-5)
    torch.testing.assert_close(found.energy, expected.energy, rtol=TOLERANCE, atol=1e-6)
    torch.testing.assert_close(found.virial, expected.virial, rtol=TOLERANCE, atol=1e-5)
    assert found.step == expected.step


@pytest.mark.parametrize("kind", ["hipnn", "schnet", "mace"])
def test_a_liquid_takes_the_path_of_the_ordinary_simulation(device, kind):
    force_field = build_force_field(kind, device)
    state = start(force_field, make_liquid(n_frames=2), device)
    integrator = capture(40, n_replicas=2)
    found, expected = state, state
    for _ in range(3):
        found, info = integrator.step(found, force_field)
        expected = step_plainly(expected, force_field, 40)
        assert not info.has_stopped
        assert_same_path(found, expected)
        expected = refresh_neighbours(expected)
    # the walls' tables and the skin were put to use
    assert (found.positions - state.positions).norm(dim=2).max() > 0.1


@pytest.mark.parametrize("kind", ["hipnn", "schnet", "mace"])
def test_replicas_of_an_open_system_take_the_path_of_the_ordinary_simulation(device, kind):
    force_field = build_force_field(kind, device)
    # plain torch, as on a GPU without fused sweeps
    force_field.network.is_fused = False
    found = expected = start(force_field, make_molecules(), device)
    integrator = capture(100, n_replicas=6)
    for _ in range(2):
        found, _ = integrator.step(found, force_field)
        expected = step_plainly(expected, force_field, 100)
        assert_same_path(found, expected)


def test_a_restarted_run_takes_the_same_path(device):
    force_field = build_force_field("schnet", device)
    state = start(force_field, make_liquid(n_frames=2), device)
    for noise in ("host", "device"):
        one = capture(20, n_replicas=2, noise=noise)
        first, _ = one.step(state, force_field)
        second, _ = one.step(first, force_field)
        again, _ = capture(20, n_replicas=2, noise=noise).step(first, force_field)
        # a new loop may find room for more pairs and so add in another order
        assert_same_path(again, second)


def test_lists_with_too_little_room_are_made_again(device, monkeypatch):
    force_field = build_force_field("schnet", device)
    state = start(force_field, make_liquid(), device)
    integrator = capture(30)
    expected, _ = integrator.step(state, force_field)
    loop = integrator._loop
    enough = loop._plan.capacity
    loop._plan = replace(loop._plan, capacity=8)
    loop._prepare(state)
    found, _ = integrator.step(state, force_field)
    assert loop._plan.capacity > 8
    assert loop._plan.capacity <= enough + 8
    assert_same_path(found, expected)


def test_a_site_that_leaves_the_skin_makes_searches_more_frequent(device):
    force_field = build_force_field("schnet", device)
    state = start(force_field, make_liquid(), device, skin=0.02)
    integrator = capture(64)
    integrator.step(state, force_field)
    assert integrator._loop._steps_per_search < 64
    integrator._loop._steps_per_search = 64
    found, _ = integrator.step(state, force_field)
    assert integrator._loop._steps_per_search < 64
    assert_same_path(found, step_plainly(state, force_field, 64))


def test_a_replica_that_blows_up_stops_alone(device):
    force_field = make_force_field(Well(harmonic=10.0), SoftPair(), Trap(edge=5.0))
    force_field = ForceField([force_field.prior[0], force_field.prior[2]], None, force_field.record).double()
    frames = make_molecules(3)
    positions = frames.positions.copy()
    positions[1, 4, 0] = 4.99
    state = start(force_field, replace(frames, positions=positions), device)
    # on its way into the trap
    state.velocities[1, 4, 0] = 5.0
    integrator = capture(10, n_replicas=3)
    found, info = integrator.step(state, force_field)
    assert info.has_stopped
    assert found.is_alive.tolist() == [True, False, True]
    (stopped,) = find_refused_steps(found, info)
    assert stopped.replica == 1
    assert "moved" in stopped.reason
    assert torch.isfinite(found.positions).all()
    # its last good place is where the ordinary simulation leaves it, and the others go on as without it
    alone = step_plainly(keep_replicas(state, torch.tensor([True, False, True], device=device)), force_field, 10)
    assert_same_path(keep_replicas(found, found.is_alive), alone)
    assert float(found.positions[1, 4, 0]) < 5.1


def test_a_force_that_is_not_a_number_stops_its_replica(device):
    force_field = build_force_field("schnet", device)
    state = start(force_field, make_molecules(2), device)
    state.forces[0, 3] = torch.nan
    found, info = capture(5, n_replicas=2).step(state, force_field)
    assert info.has_stopped
    assert found.is_alive.tolist() == [False, True]
    (stopped,) = find_refused_steps(found, info)
    assert stopped.reason == "a force was not finite"


def test_positions_in_a_harmonic_well_have_the_variance_kt_over_k(device):
    stiffness, temperature = 500.0, 300.0
    force_field = make_force_field(Well(harmonic=stiffness)).double()
    state = start(
        force_field, make_frames(np.zeros((40, 25, 3)), temperature=temperature), device, max_displacement=1.0
    )
    # 3 ps, six times the relaxation time 1/γ, between frames
    integrator = capture(750, n_replicas=40, noise="device")
    samples = []
    for _ in range(4):
        state, _ = integrator.step(state, force_field)
        samples.append(state.positions)
    assert bool(state.is_alive.all())
    expected = GAS_CONSTANT * temperature / stiffness
    # 12,000 independent normal numbers: four standard errors of their variance
    values = torch.stack(samples)
    assert abs(float((values**2).mean()) / expected - 1.0) < 4.0 * (2.0 / values.numel()) ** 0.5


@pytest.mark.parametrize("kind", ["hipnn", "schnet", "mace"])
@pytest.mark.parametrize("is_periodic", [False, True])
def test_a_step_never_makes_the_host_wait(kind, is_periodic):
    device = "cpu"
    force_field = build_force_field(kind, device)
    force_field = ForceField([*force_field.prior, Well(harmonic=10.0)], force_field.network, force_field.record)
    state = start(force_field, make_liquid(n_side=8, spacing=0.36) if is_periodic else make_molecules(2), device)
    loop = _Loop(state, capture(5, n_replicas=state.n_replicas), force_field)
    assert (loop._plan.grid is not None) == is_periodic
    leave_the_host(loop, set())
    for is_searching in (True, False):
        # constants that are made once are made here, as in the calls before a capture
        loop._step(is_searching=is_searching)
        with HostWatch():
            loop._step(is_searching=is_searching)


def test_forces_that_differ_from_plain_ones_end_the_capture(device, monkeypatch):
    force_field = build_force_field("schnet", device)
    state = start(force_field, make_molecules(2), device)
    integrator = capture(10, n_replicas=2)
    compute = StaticForces.compute
    monkeypatch.setattr(StaticForces, "compute", lambda *arguments: 1.01 * compute(*arguments))
    with pytest.warns(UserWarning, match="differ from plain ones"):
        found, _ = integrator.step(state, force_field)
    expected = step_plainly(state, force_field, 20)
    assert_same_path(integrator.step(found, force_field)[0], expected)


def test_steps_that_cannot_be_captured_are_taken_without(monkeypatch, device):
    def fail(function, device):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(captured, "_capture", fail)
    force_field = build_force_field("schnet", device)
    state = start(force_field, make_molecules(2), device)
    integrator = capture(10, n_replicas=2)
    with pytest.warns(UserWarning, match="not permitted when stream is capturing"):
        found, _ = integrator.step(state, force_field)
    assert_same_path(integrator.step(found, force_field)[0], step_plainly(state, force_field, 20))


def test_device_noise_is_standard_normal_and_a_function_of_the_step(device):
    block = draw_on_device(3, 20, step=70, n_sites=50, device=torch.device(device))
    values = block.values
    # 192,000 numbers: four standard errors of mean and variance
    assert abs(float(values.mean())) < 4.0 / values.numel() ** 0.5
    assert abs(float(values.var()) - 1.0) < 4.0 * (2.0 / values.numel()) ** 0.5
    assert torch.equal(draw_on_device(3, 20, step=64, n_sites=50, device=torch.device(device)).values, values)
    for seed, step in ((4, 70), (3, 5)):
        other = draw_on_device(seed, 20, step=step, n_sites=50, device=torch.device(device)).values
        assert abs(float((other * values).mean())) < 4.0 / values.numel() ** 0.5


def test_what_cannot_be_captured_is_named():
    assert find_obstacle(build_force_field("hipnn", "cpu")) is None
    assert "test_soft_pair" in find_obstacle(make_force_field(SoftPair()))
    wall = ExponentialRepulsion(("bead",), joining_distances=(0.3,), joining_forces=(60.0,), decays=(40.0,), cutoff=0.5)
    assert "exponential_repulsion" in find_obstacle(make_force_field(wall))
