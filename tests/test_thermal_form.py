"""Potentials that depend on temperature: weights, parts, files, and the force field of one temperature."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict, predict_prior
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, fix_temperature, load_force_field, save_force_field
from beadsmith.neighbors import find_pairs
from beadsmith.thermal_form import ThermalForm
from beadsmith.thermal_parts import predict_parts
from example_force_fields import SoftPair, make_force_field, make_liquid
from example_thermal import LINEAR, SETTINGS, WITH_CAPACITY, make_record, make_thermal_force_field

TEMPERATURES = torch.tensor([250.0, 300.0, 320.0, 500.0], dtype=torch.float64)


def make_systems(temperatures):
    """Return one box for each temperature, the same sites in all, in float64."""
    frame = make_liquid(n_side=3, spacing=0.35)
    frames = replace(
        frame.select(np.zeros(len(temperatures), dtype=np.int64)), temperature=np.array(temperatures, dtype=np.float64)
    )
    batch = build_batch(frames, np.arange(len(temperatures)), dtype=torch.float64)
    return batch, find_pairs(batch, 0.6)


def test_weights_are_those_of_energy_entropy_and_heat_capacity_surfaces():
    u0, s0, c, t0 = 3.0, 0.02, 0.05, 320.0
    channels = torch.tensor([u0 - t0 * s0, t0 * s0, t0 * c], dtype=torch.float64)
    t = TEMPERATURES
    expected = u0 - t * s0 + c * ((t - t0) - t * torch.log(t / t0))
    torch.testing.assert_close(WITH_CAPACITY.free_energy_weights(t) @ channels, expected)
    torch.testing.assert_close(WITH_CAPACITY.energy_weights(t) @ channels, u0 + c * (t - t0))
    torch.testing.assert_close(WITH_CAPACITY.entropy_weights(t) @ channels, -t * (s0 + c * torch.log(t / t0)))
    torch.testing.assert_close(WITH_CAPACITY.heat_capacity_weights(t) @ channels, torch.full_like(t, c))


@pytest.mark.parametrize("form", [ThermalForm(), LINEAR, WITH_CAPACITY])
def test_entropy_weights_are_the_slope_of_the_free_energy_weights(form):
    step = 1e-3
    slope = (form.free_energy_weights(TEMPERATURES + step) - form.free_energy_weights(TEMPERATURES - step)) / (2 * step)
    torch.testing.assert_close(form.entropy_weights(TEMPERATURES), TEMPERATURES[:, None] * slope, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("form", [LINEAR, WITH_CAPACITY])
def test_energy_and_entropy_are_consistent_whatever_the_network_says(form):
    # dU/dT = T dS/dT = heat capacity, by central differences of what the network with random weights predicts
    force_field, step = make_thermal_force_field(form), 0.5
    batch, pairs = make_systems([400.0 - step, 400.0, 400.0 + step])
    parts = predict_parts(force_field, batch, pairs)
    energy, entropy = parts.energetic.energy, -parts.entropic.energy / batch.temperature
    energy_slope, entropy_slope = ((x[2] - x[0]) / (2 * step) for x in (energy, entropy))
    scale = float(parts.free_energy.energy.abs().max()) / 400.0
    torch.testing.assert_close(energy_slope, 400.0 * entropy_slope, rtol=1e-5, atol=1e-7 * scale)
    torch.testing.assert_close(energy_slope, parts.heat_capacity[1], rtol=1e-5, atol=1e-7 * scale)


def test_parts_add_up_to_what_is_simulated():
    force_field = make_thermal_force_field(WITH_CAPACITY, prior=[SoftPair()])
    batch, pairs = make_systems([280.0, 350.0])
    parts, whole = predict_parts(force_field, batch, pairs), predict(force_field, batch, pairs)
    for name in ("energy", "forces", "virial"):
        torch.testing.assert_close(getattr(parts.free_energy, name), getattr(whole, name), rtol=1e-10, atol=1e-9)
    assert not torch.allclose(whole.energy[0], whole.energy[1])


def test_the_prior_is_energy_and_no_entropy():
    bare, with_prior = (make_thermal_force_field(LINEAR, prior=prior) for prior in ([], [SoftPair()]))
    batch, pairs = make_systems([280.0, 350.0])
    ours, others = (predict_parts(force_field, batch, pairs) for force_field in (with_prior, bare))
    prior = predict_prior(list(with_prior.prior), batch, pairs)
    torch.testing.assert_close(ours.energetic.forces - others.energetic.forces, prior.forces)
    torch.testing.assert_close(ours.entropic.forces, others.entropic.forces, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_force_field_of_one_temperature_is_the_same_with_one_channel(kind):
    force_field = make_thermal_force_field(WITH_CAPACITY, kind=kind, prior=[SoftPair()])
    batch, pairs = make_systems([280.0])
    fixed = fix_temperature(force_field, 280.0)
    assert fixed.network.n_channels == 1
    for name in ("energy", "forces", "virial"):
        expected = getattr(predict(force_field, batch, pairs), name)
        torch.testing.assert_close(getattr(predict(fixed, batch, pairs), name), expected, rtol=1e-11, atol=1e-11)


def test_a_force_field_that_does_not_depend_on_temperature_is_itself_at_any():
    force_field = make_force_field(SoftPair())
    assert fix_temperature(force_field, None) is force_field


@pytest.mark.parametrize("temperature", [None, 0.0, -3.0, float("nan")])
def test_a_force_field_that_depends_on_temperature_wants_one(temperature):
    with pytest.raises(InputError, match=r"depends on temperature.*300 K"):
        fix_temperature(make_thermal_force_field(), temperature)


def test_parts_of_a_force_field_without_temperature_are_refused():
    batch, pairs = make_systems([300.0])
    with pytest.raises(InputError, match="does not depend on temperature"):
        predict_parts(make_force_field(SoftPair()), batch, pairs)


def test_a_file_keeps_the_thermal_form(tmp_path):
    force_field = make_thermal_force_field(WITH_CAPACITY, prior=[])
    save_force_field(force_field, tmp_path / "ff")
    loaded = load_force_field(tmp_path / "ff")
    assert loaded.thermal_form == WITH_CAPACITY
    batch, pairs = make_systems([280.0])
    torch.testing.assert_close(
        predict(loaded, batch, pairs).energy, predict(force_field, batch, pairs).energy, rtol=0.0, atol=0.0
    )


def test_files_without_a_thermal_form_are_still_read(tmp_path):
    save_force_field(make_thermal_force_field(ThermalForm()), tmp_path / "ff")
    path = tmp_path / "ff" / "force_field.json"
    data = json.loads(path.read_text())
    del data["thermal_form"]
    path.write_text(json.dumps(data | {"format_version": 1}))
    assert load_force_field(tmp_path / "ff").thermal_form == ThermalForm()


BAD_FORMS = [
    ({"kind": "quadratic"}, "thermal form is 'quadratic', expected one of none, linear, heat_capacity"),
    ({"kind": "linear"}, "reference temperature of thermal form 'linear' is None"),
    ({"kind": "linear", "reference_temperature": -1.0}, "is -1.0 K, expected > 0"),
    ({"reference_temperature": 300.0}, "does not depend on temperature has no reference temperature"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_FORMS)
def test_wrong_thermal_forms_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ThermalForm(**arguments)


def test_a_network_without_the_channels_of_its_form_is_refused():
    network = make_thermal_force_field(LINEAR).network
    with pytest.raises(InputError, match="'heat_capacity' needs a network of 3 channels, this one has 2"):
        ForceField([], network, make_record(), WITH_CAPACITY)
    with pytest.raises(InputError, match="'linear' needs a network of 2 channels, there is no network"):
        ForceField([SoftPair()], None, make_record(), LINEAR)
