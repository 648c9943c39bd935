"""What force fields of energy and entropy add to an evaluation, for a network and the other members of its ensemble."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.evaluate import EvaluationSettings
from beadsmith.analysis.member_spread import SPREAD, spread_over_members
from beadsmith.diagnostics.bead_series import read_bead_series
from beadsmith.diagnostics.heat_capacity import measure_bead_heat_capacity
from beadsmith.force_field import save_force_field
from beadsmith.io.h5md import write_trajectory
from beadsmith.pipeline.bead_energies import add_bead_energies
from beadsmith.thermal_form import ThermalForm
from beadsmith.trajectory import StatePoint
from example_force_fields import make_liquid
from example_thermal import make_thermal_force_field

SETTINGS = EvaluationSettings(n_blocks=4)
NAMES = ("network", "member-1", "member-2")


def write_frames(path, *, temperature=300.0, seed=0, has_energy=True):
    """Write frames of a small liquid with energies that are no more than noise."""
    frames = make_liquid(n_side=3, spacing=0.35, n_frames=16, seed=seed)
    energy = np.random.default_rng(seed).normal(temperature, 5.0, 16) if has_energy else None
    write_trajectory(path, replace(frames, state_point=StatePoint(temperature=temperature), energy=energy))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with three force fields, their simulations, and frames at two temperatures."""
    folder = tmp_path_factory.mktemp("thermal")
    for number, name in enumerate(NAMES):
        save_force_field(make_thermal_force_field(seed=number), folder / name)
        write_frames(folder / f"{name}.h5", seed=10 + number)
    write_frames(folder / "mapped.h5")
    write_frames(folder / "hot.h5", temperature=400.0, seed=1)
    return folder


def add(folder, training, names=NAMES, **changes):
    empty = {name: {} for name in ("reference", *names)}
    evaluation = {"systems": empty, "comparisons": {name: {} for name in names}}
    files = {"mapped": folder / "mapped.h5", "training": training, "main": "network"} | changes
    folders, simulations = ({name: folder / f"{name}{end}" for name in names} for end in ("", ".h5"))
    return add_bead_energies(evaluation, folders, simulations, SETTINGS, **files)


def test_the_heat_capacity_of_an_ensemble_has_the_spread_over_its_members_own(folder):
    found = add(folder, [folder / "mapped.h5", folder / "hot.h5"])
    values = [found["systems"][name]["heat_capacity"]["value"] for name in NAMES]
    assert len(set(values)) == 3
    joined = spread_over_members(found, NAMES[1:], "network")
    system, comparison = joined["systems"]["network"], joined["comparisons"]["network"]
    assert system["heat_capacity"][SPREAD] == pytest.approx(np.std(values, ddof=1))
    differences = [found["comparisons"][name]["energy_difference"]["value"] for name in NAMES]
    assert comparison["energy_difference"][SPREAD] == pytest.approx(np.std(differences, ddof=1))
    assert SPREAD in system["mean_energy"]
    assert SPREAD not in system["bead_energy"], "every network has a zero of its own"


def test_mean_energies_do_not_depend_on_the_networks_zero(folder):
    found = add(folder, [folder / "mapped.h5", folder / "hot.h5"])
    system, reference = found["systems"]["network"], found["systems"]["reference"]
    difference = found["comparisons"]["network"]["energy_difference"]
    assert difference["training_temperatures"] == {"values": [300.0, 400.0], "unit": "K"}
    # at a state of training, with as many temperatures as the line has numbers, U of two sets of frames is compared
    between = system["bead_energy"]["value"] - reference["bead_energy"]["value"]
    assert difference["value"] == pytest.approx(between)
    assert system["mean_energy"]["value"] - reference["mean_energy"]["value"] == pytest.approx(between)
    assert difference["reference_error"] == reference["mean_energy"]["standard_error"]
    entropy = found["comparisons"]["network"]["entropy_difference"]["value"]
    assert entropy == pytest.approx(system["bead_entropy"]["value"] - reference["bead_entropy"]["value"])


def test_without_training_frames_the_heat_capacity_lacks_what_no_bead_feels_and_the_reason_is_said(folder):
    found = add(folder, [folder / "gone.h5"], names=("network",))
    comparison, system = found["comparisons"]["network"], found["systems"]["network"]
    assert comparison["energy_difference"] is None
    assert "no longer where they were" in comparison["no_energy_difference"]
    assert system["mean_energy"] is None
    assert system["heat_capacity_parts"]["hidden"] is None
    series = read_bead_series(make_thermal_force_field(seed=0), folder / "network.h5")
    expected = measure_bead_heat_capacity(series, n_blocks=4).total.value
    assert system["heat_capacity"]["value"] == pytest.approx(expected)


def test_a_reference_without_energies_has_means_of_the_beads_alone(folder, tmp_path):
    write_frames(tmp_path / "silent.h5", has_energy=False)
    found = add(folder, [folder / "hot.h5"], names=("network",), mapped=tmp_path / "silent.h5")
    assert found["comparisons"]["network"]["no_energy_difference"] == "the reference has no energies"
    assert found["systems"]["reference"]["mean_energy"] is None
    assert found["systems"]["reference"]["bead_entropy"]["unit"] == "J/mol/K"


def test_averages_at_fixed_beads_are_no_frames_of_a_state(folder, tmp_path):
    frames = make_liquid(n_side=3, spacing=0.35, n_frames=4)
    averaged = replace(frames, energy=np.zeros(4), n_averaged=np.full(4, 100))
    write_trajectory(tmp_path / "mean_force.h5", averaged)
    found = add(folder, [tmp_path / "mean_force.h5", folder / "mapped.h5"], names=("network",))
    alone = add(folder, [folder / "mapped.h5"], names=("network",))
    assert found["comparisons"] == alone["comparisons"]


def test_a_force_field_of_one_temperature_adds_nothing(folder, tmp_path):
    save_force_field(make_thermal_force_field(ThermalForm()), tmp_path / "network")
    evaluation = {"systems": {"reference": {}, "network": {}}, "comparisons": {"network": {}}}
    found = add_bead_energies(
        evaluation,
        {"network": tmp_path / "network"},
        {"network": folder / "network.h5"},
        SETTINGS,
        mapped=folder / "mapped.h5",
        training=[],
        main="network",
    )
    assert found == evaluation
