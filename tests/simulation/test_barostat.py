"""Changes of the volume: the ensemble of ideal gases, whole molecules, neighbour lists, restarts, bad settings."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from beadsmith.errors import InputError, PhysicsError
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.io.h5md import open_trajectory, read_trajectory
from beadsmith.neighbors import build_skin_list, find_pairs, is_covering, pair_vectors, pairs_within
from beadsmith.priors.bonded import find_type_tuples
from beadsmith.priors.harmonic import HarmonicBonds
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.volume import VolumeTerm
from beadsmith.simulation import run as module
from beadsmith.simulation.barostat import (
    BarostatSettings,
    change_volumes,
    measure_volumes,
    scale_volumes,
    start_moves,
    summarise_moves,
)
from beadsmith.simulation.captured import CapturedLangevin
from beadsmith.simulation.run import build_integrator, simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.start import join_topologies
from beadsmith.simulation.state import init_state, place_sites
from beadsmith.simulation.tempering import TemperingSettings
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import BAR, GRAM_PER_CUBIC_CENTIMETRE, thermal_energy
from example_chains import build_chain
from example_force_fields import SoftPair, Well, make_force_field, make_frames, make_liquid

TEMPERATURE = 300.0
PRESSURE = 20.0  # kJ/mol/nm³, 332 bar: kT/P is 0.125 nm³
WALLS = ExponentialRepulsion(("bead",), joining_distances=(0.3,), joining_forces=(60.0,), decays=(40.0,), cutoff=0.5)
SETTINGS = SimulationSettings(
    timestep=0.005,
    equilibration=0.1,
    duration=0.3,
    save_interval=0.03,
    replicas=3,
    pressure=PRESSURE,
    barostat=BarostatSettings(interval=0.01, largest_change=0.1),
)


def make_gas(n_molecules, n_replicas, *, chain=1, seed=0):
    """Return force field and frames of molecules without interactions between them, in cubes near their mean volume."""
    generator = np.random.default_rng(seed)
    edge = ((n_molecules + 1) * thermal_energy(TEMPERATURE) / PRESSURE) ** (1 / 3)
    starts = edge * generator.random((n_replicas, n_molecules, 1, 3))
    positions = starts + 0.2 * np.arange(chain)[:, None] * np.array([1.0, 0.0, 0.0])
    if chain == 1:
        return make_force_field(Well()), make_frames(positions[:, :, 0], cell=edge * np.eye(3))
    molecule = build_chain(chain)
    bonds = find_type_tuples((molecule,), "bond")
    prior = HarmonicBonds(molecule.type_names, bonds, centres=(0.2,) * len(bonds), stiffnesses=(2e4,) * len(bonds))
    record = ForceFieldRecord(templates=(molecule,), state_points=(StatePoint(temperature=TEMPERATURE),))
    frames = Trajectory(
        topology=join_topologies([molecule] * n_molecules),
        state_point=StatePoint(temperature=TEMPERATURE),
        positions=positions.reshape(n_replicas, -1, 3).astype(np.float32),
        times=np.zeros(n_replicas),
        cell=np.repeat((edge * np.eye(3, dtype=np.float32))[None], n_replicas, axis=0),
    )
    return ForceField([prior], None, record), frames


def make_state(force_field, frames, *, dtype=torch.float64, skin=0.2, seed=1):
    """Return the state at the start of a simulation."""
    return init_state(
        force_field.to(dtype), frames, cutoff=force_field.cutoff, skin=skin, max_displacement=0.2, seed=seed,
        dtype=dtype,
    )  # fmt: skip


def sample_volumes(force_field, frames, *, n_attempts, n_equilibration, largest_change):
    """Return the volumes (attempts, replicas) that changes of the volume alone visit."""
    state = make_state(force_field, frames)
    moves = start_moves(BarostatSettings(largest_change=largest_change), frames)
    volumes = []
    for attempt in range(n_equilibration + n_attempts):
        state, moves = change_volumes(
            state, moves, force_field, pressure=PRESSURE, attempt=attempt, is_adapting=attempt < n_equilibration
        )
        volumes.append(measure_volumes(state).numpy())
    return np.array(volumes[n_equilibration:]), moves


@pytest.mark.parametrize(("n_molecules", "chain"), [(4, 1), (30, 1), (5, 3)])
def test_volumes_of_an_ideal_gas_have_the_mean_and_variance_of_the_gamma_distribution(n_molecules, chain):
    """p(V) ~ V^N exp(−PV/kT): mean (N + 1) kT/P, variance (N + 1) (kT/P)². Chains count as one molecule each."""
    force_field, frames = make_gas(n_molecules, 64, chain=chain)
    volumes, moves = sample_volumes(
        force_field, frames, n_attempts=150, n_equilibration=50, largest_change=2.0 / np.sqrt(n_molecules + 1)
    )
    scale = thermal_energy(TEMPERATURE) / PRESSURE
    reduced = volumes / scale
    # replicas are independent of each other: standard errors from their spread; 4 of them for six comparisons
    for measured, expected in (
        (reduced.mean(axis=0), n_molecules + 1.0),
        (((reduced - (n_molecules + 1.0)) ** 2).mean(axis=0), n_molecules + 1.0),
    ):
        error = measured.std(ddof=1) / np.sqrt(len(measured))
        assert error < 0.09 * expected
        assert abs(measured.mean() - expected) < 4.0 * error
    # the whole distribution, from one volume a replica
    assert stats.kstest(reduced[-1], stats.gamma(n_molecules + 1).cdf).pvalue > 1e-3
    assert 0.3 < np.mean(moves.acceptances / moves.attempts) < 0.7


def test_molecules_move_rigidly_and_their_centres_with_the_cell():
    force_field, frames = make_gas(6, 2, chain=3)
    state = make_state(force_field, frames)
    scaled = scale_volumes(state, torch.tensor([0.9, 1.2], dtype=torch.float64))
    torch.testing.assert_close(
        measure_volumes(scaled) / measure_volumes(state),
        torch.tensor([0.9, 1.2], dtype=torch.float64),
        rtol=1e-12,
        atol=0,
    )
    masses = torch.tensor(frames.topology.masses).view(6, 3, 1)

    def split(positions):
        molecules = positions.view(2, 6, 3, 3)
        centres = (masses * molecules).sum(2) / masses.sum(1)
        return centres, molecules - centres[:, :, None]

    (old, inner), (new, moved) = split(state.positions), split(scaled.positions)
    torch.testing.assert_close(moved, inner, rtol=0, atol=1e-12)
    factor = torch.tensor([0.9, 1.2], dtype=torch.float64)[:, None, None] ** (1 / 3)
    torch.testing.assert_close(new, factor * old, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_molecule_that_has_left_the_cell_stays_equivalent_to_its_image(dtype):
    force_field, frames = make_gas(5, 2)
    # two replicas of one image, one of them some cells away
    positions = frames.positions.copy()
    positions[1] = positions[0] + (np.array([3, -2, 7]) @ frames.cell[0])
    state = make_state(force_field, replace(frames, positions=positions), dtype=dtype)
    scaled = scale_volumes(state, torch.full((2,), 1.07, dtype=torch.float64))
    first, second = scaled.system.positions.view(2, 5, 3)
    # float32 start positions at some cells' distance carry 1e-6 nm
    torch.testing.assert_close(second, first, rtol=0, atol=2e-6)
    inside = scaled.system.positions.view(2, 5, 3) @ torch.linalg.inv(scaled.system.cell)
    assert (inside > -1e-6).all()
    assert (inside < 1.0 + 1e-6).all()


def list_within(state, pairs, cutoff):
    """Return index and shifts of the pairs of a state within a cutoff."""
    system = state.system
    vectors = pair_vectors(system.positions, system.cell, system.system_index, pairs)
    cut, _ = pairs_within(pairs, vectors, cutoff)
    return cut.index, cut.shifts


@pytest.mark.parametrize("ratio", [0.97, 0.99, 1.03])
def test_a_strained_neighbour_list_that_says_it_covers_holds_every_pair(ratio):
    force_field, frames = make_gas(40, 2, chain=3)
    state = make_state(force_field, frames)
    state = replace(state, cutoff=0.7, skin_list=build_skin_list(state.system, 0.7, 0.15))
    n_kept, steps = 0, torch.from_numpy(np.random.default_rng(0).normal(scale=1e-3, size=(32, 2, 120, 3)))
    for step in steps:
        state = scale_volumes(state, torch.full((2,), ratio, dtype=torch.float64))
        state = place_sites(state, state.positions + step)
        if not is_covering(state.skin_list, state.system):
            break
        n_kept += 1
        found = list_within(state, state.skin_list.pairs, 0.7)
        expected = list_within(state, find_pairs(state.system, 0.7), 0.7)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    # it serves for a while, and not for ever
    assert 3 <= n_kept < 32


def test_energies_after_a_change_are_those_of_the_force_field_in_the_new_cell():
    force_field, frames = make_force_field(SoftPair()), make_liquid(n_frames=4)
    state = make_state(force_field, frames)
    moves = start_moves(BarostatSettings(largest_change=0.05), frames)
    for attempt in range(6):
        state, moves = change_volumes(state, moves, force_field, pressure=PRESSURE, attempt=attempt, is_adapting=False)
        again = make_state(
            force_field,
            replace(frames, positions=state.positions.numpy(), cell=state.system.cell.numpy()),
        )  # fmt: skip
        torch.testing.assert_close(state.energy, again.energy, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(state.forces, again.forces, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(state.virial, again.virial, rtol=1e-9, atol=1e-9)
    assert 0 < moves.acceptances.sum() < moves.attempts.sum()


def run(path, settings=SETTINGS, *, term=None, start=None, temperature=TEMPERATURE, **options):
    options = {"seed": 3, "identity": "test", **options}
    force_field = make_force_field(SoftPair() if term is None else term)
    start = make_liquid(n_frames=settings.replicas) if start is None else start
    return simulate(force_field, start, settings, path, temperature=temperature, **options)


def test_cells_and_pressure_are_saved_with_the_frames(tmp_path):
    summary = run(tmp_path / "s.h5")
    frames = read_trajectory(tmp_path / "s.h5")
    volumes = frames.volumes().reshape(3, 10)
    assert (volumes.std(axis=1) > 0.0).all()
    assert frames.state_point == StatePoint(temperature=TEMPERATURE, pressure=PRESSURE)
    assert summary["barostat"]["pressure"] == PRESSURE
    assert len(summary["barostat"]["acceptance"]) == 3
    with open_trajectory(tmp_path / "s.h5") as stored:
        assert stored.metadata["settings"]["barostat"]["interval"] == 0.01


def test_saved_energies_belong_to_saved_cells(tmp_path):
    run(tmp_path / "s.h5", replace(SETTINGS, precision="float64"))
    frames = read_trajectory(tmp_path / "s.h5")
    again = make_state(make_force_field(SoftPair()), replace(frames, velocities=None))
    # positions are stored in float32
    np.testing.assert_allclose(again.energy.numpy(), frames.energy, rtol=1e-4)


def test_the_size_of_the_changes_is_fixed_while_frames_are_saved(tmp_path):
    short = run(tmp_path / "a.h5", replace(SETTINGS, duration=0.03))
    longer = run(tmp_path / "b.h5")
    assert short["barostat"]["largest_change"] == longer["barostat"]["largest_change"]
    untouched = run(tmp_path / "c.h5", replace(SETTINGS, equilibration=0.0, duration=0.03))
    assert untouched["barostat"]["largest_change"] == [0.1] * 3


class Killed(Exception):
    """Stands for a kill."""


def kill_after(n_calls):
    calls = iter(range(n_calls))

    def progress(done, total, note=""):
        if next(calls, None) is None:
            raise Killed

    return progress


def run_with_kills(path, settings, **options):
    """Return the summary of a run that is killed after one call, then after two, and so on."""
    for n_calls in range(1, 50):
        try:
            return run(path, settings, progress=kill_after(n_calls), **options), n_calls - 1
        except Killed:
            continue
    raise AssertionError("the run does not end")


def test_a_run_at_constant_pressure_killed_at_any_checkpoint_ends_with_the_same_bits(tmp_path):
    settings = replace(SETTINGS, checkpoint_interval=0.0)
    whole = run(tmp_path / "a.h5", settings)
    resumed, n_kills = run_with_kills(tmp_path / "b.h5", settings)
    assert n_kills >= 3
    first, second = (read_trajectory(tmp_path / f"{name}.h5") for name in "ab")
    for field in ("positions", "velocities", "cell", "energy", "virial", "times", "segment"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field), err_msg=field)
    whole.pop("speed")
    resumed.pop("speed")
    assert json.dumps(resumed) == json.dumps(whole)


def test_replicas_follow_the_same_bits_alone_and_side_by_side(tmp_path):
    liquid = make_liquid(n_frames=3)
    run(tmp_path / "a.h5", start=liquid)
    run(tmp_path / "b.h5", replace(SETTINGS, replicas=1), start=liquid.select(slice(0, 1)))
    together, alone = (read_trajectory(tmp_path / f"{name}.h5") for name in "ab")
    mine = together.select(together.segment == 0)
    for field in ("positions", "cell", "energy"):
        np.testing.assert_array_equal(getattr(mine, field), getattr(alone, field), err_msg=field)


@pytest.mark.parametrize("noise", ["host", "device"])
def test_captured_steps_take_the_cell_of_every_change(tmp_path, monkeypatch, noise):
    run(tmp_path / "plain.h5", term=WALLS)

    def build(settings):
        return CapturedLangevin(
            build_integrator(settings),
            first_frame=settings.n_equilibration_steps,
            stride=2,
            n_replicas=settings.replicas,
            noise=noise,
        )

    monkeypatch.setattr(module, "build_integrator", build)
    run(tmp_path / "captured.h5", term=WALLS)
    settings = replace(SETTINGS, checkpoint_interval=0.0)
    _, n_kills = run_with_kills(tmp_path / "killed.h5", settings, term=WALLS)
    assert n_kills >= 3
    plain, captured, killed = (read_trajectory(tmp_path / f"{name}.h5") for name in ("plain", "captured", "killed"))
    assert np.ptp(captured.volumes()) > 0.01
    # rounding of float32 forces and energies, 1e-6 of them, over 80 steps; no decision of the Metropolis rule so near
    np.testing.assert_allclose(killed.positions, captured.positions, atol=1e-5)
    np.testing.assert_allclose(killed.cell, captured.cell, rtol=1e-6)
    if noise == "host":
        np.testing.assert_allclose(captured.cell, plain.cell, rtol=1e-6)
        np.testing.assert_allclose(captured.positions, plain.positions, atol=1e-5)
        np.testing.assert_allclose(captured.virial, plain.virial, rtol=1e-3, atol=1e-2)


def test_tempering_at_constant_pressure_gives_every_temperature_its_own_volumes(tmp_path):
    """An ideal gas of N molecules: <V> = (N + 1) kT/P at each temperature."""
    n_molecules, temperatures = 6, (300.0, 450.0)
    _, frames = make_gas(n_molecules, 64)
    settings = SimulationSettings(
        timestep=0.01,
        equilibration=1.0,
        duration=4.0,
        save_interval=0.04,
        replicas=64,
        pressure=PRESSURE,
        barostat=BarostatSettings(interval=0.02, largest_change=0.8, max_volume_ratio=1e3),
        tempering=TemperingSettings(temperatures=temperatures, interval=0.02),
    )
    summary = run(tmp_path / "s.h5", settings, term=Well(), start=frames)
    # equal energies, but the hotter replica is larger: by no means every exchange is accepted
    assert 0.3 < summary["tempering"]["acceptance"][0] < 0.95
    for name, temperature in zip(summary["tempering"]["files"], temperatures, strict=True):
        measured = read_trajectory(tmp_path / name)
        ladders = measured.volumes().reshape(32, -1).mean(axis=1)
        expected = (n_molecules + 1) * thermal_energy(temperature) / PRESSURE
        error = ladders.std(ddof=1) / np.sqrt(len(ladders))
        assert error < 0.03 * expected
        # 32 independent ladders at each of two temperatures: 4 standard errors
        assert abs(ladders.mean() - expected) < 4.0 * error


def test_a_replica_that_boils_is_stopped_and_named(tmp_path):
    gas = make_liquid(n_frames=3)
    settings = replace(
        SETTINGS, pressure=1e-3 * BAR, duration=3.0, barostat=BarostatSettings(interval=0.01, largest_change=0.5)
    )
    with pytest.raises(PhysicsError, match=r"all 3 replicas stopped.*times that of the start: at this pressure"):
        run(tmp_path / "s.h5", settings, term=Well(), start=gas)


def test_an_open_start_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'simulation.pressure' is given, but the start has no periodic cell"):
        run(tmp_path / "s.h5", start=replace(make_liquid(n_frames=3), cell=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pressure": 0.0}, "'pressure' is 0.0"),
        ({"pressure": float("nan")}, "'pressure' is nan"),
        ({"pressure": None}, "'barostat' is given without a 'pressure'"),
        ({"integrator": "verlet"}, "needs the integrator langevin, not verlet"),
        ({"integrator": "brownian"}, "needs the integrator langevin, not brownian"),
        ({"timestep": 0.006, "save_interval": 0.03}, "'barostat.interval' is 1.66667 timesteps"),
    ],
)
def test_settings_that_hold_no_pressure_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(SETTINGS, **change)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"interval": 0.0}, "interval"),
        ({"interval": float("inf")}, "interval"),
        ({"largest_change": 0.0}, "largest_change"),
        ({"largest_change": 1.5}, "largest_change"),
        ({"max_volume_ratio": 1.0}, "max_volume_ratio"),
    ],
)
def test_barostat_settings_out_of_range_are_refused_by_name(values, name):
    with pytest.raises(InputError, match=f"'barostat.{name}'"):
        BarostatSettings(**values)


def test_acceptance_is_null_before_the_first_attempt():
    moves = start_moves(BarostatSettings(), make_liquid(n_frames=2))
    assert summarise_moves(moves, pressure=1.0)["acceptance"] == [None, None]


def test_a_term_of_the_volume_shifts_the_pressure_of_an_ideal_gas():
    """w = c x shifts the pressure by −c/v₀ exactly: the gas at P + c/v₀ has the volumes of the plain gas at P."""
    n_molecules, shift = 6, -0.5 * PRESSURE
    _, frames = make_gas(n_molecules, 64)
    term = VolumeTerm((-shift * 0.1,), reference_volume=0.1)
    volumes, _ = sample_volumes(
        make_force_field(Well(), term), frames, n_attempts=150, n_equilibration=50, largest_change=0.8
    )
    expected = (n_molecules + 1) * thermal_energy(TEMPERATURE) / (PRESSURE - shift)
    means = volumes.mean(axis=0)
    error = means.std(ddof=1) / 8.0
    assert error < 0.05 * expected
    # 64 independent replicas, 4 standard errors
    assert abs(means.mean() - expected) < 4.0 * error


def test_captured_forces_have_no_part_of_a_term_of_the_volume(tmp_path, monkeypatch):
    def build(settings):
        return CapturedLangevin(build_integrator(settings), first_frame=settings.n_equilibration_steps, stride=2,
                                n_replicas=settings.replicas)  # fmt: skip

    monkeypatch.setattr(module, "build_integrator", build)
    term = VolumeTerm((5.0, 20.0), reference_volume=0.04)
    force_field = make_force_field(WALLS, term)
    simulate(
        force_field, make_liquid(n_frames=3), SETTINGS, tmp_path / "s.h5", temperature=TEMPERATURE, seed=3, identity="t"
    )
    frames = read_trajectory(tmp_path / "s.h5")
    again = make_state(force_field, replace(frames, velocities=None))
    np.testing.assert_allclose(again.energy.numpy(), frames.energy, rtol=1e-4)
    np.testing.assert_allclose(again.virial.numpy(), frames.virial, rtol=1e-3, atol=0.05)


def test_the_density_of_the_summary_is_that_of_the_saved_frames(tmp_path):
    summary = run(tmp_path / "s.h5")
    frames = read_trajectory(tmp_path / "s.h5")
    expected = np.mean(frames.topology.total_mass / frames.volumes()) / GRAM_PER_CUBIC_CENTIMETRE
    assert summary["density"]["mean"] == pytest.approx(expected, rel=1e-6)
    assert summary["density"]["standard_error"] > 0.0
    still = replace(SETTINGS, pressure=None, barostat=None)
    assert run(tmp_path / "t.h5", still)["density"]["standard_error"] == pytest.approx(0.0, abs=1e-12)
    open_start = replace(make_liquid(n_frames=3), cell=None)
    assert run(tmp_path / "u.h5", still, start=open_start)["density"] is None
