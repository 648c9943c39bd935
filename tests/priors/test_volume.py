"""The volume term: closed form, extensivity, its place in files, simulations and exports."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict, predict_prior
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, load_force_field, save_force_field
from beadsmith.neighbors import find_pairs
from beadsmith.priors.volume import VolumeTerm
from beadsmith.simulation.start import replicate
from example_chains import make_random_chains
from example_force_fields import SoftPair, make_force_field, make_liquid

TERM = VolumeTerm((-3.0, 40.0), reference_volume=0.05)
TRICLINIC = np.array([[1.4, 0.0, 0.0], [0.3, 1.5, 0.0], [-0.2, 0.4, 1.3]])


def predict_term(frames, term=TERM):
    """Return the prediction of the term alone, in float64."""
    batch = build_batch(frames, np.arange(frames.n_frames), dtype=torch.float64)
    return predict_prior([term], batch, find_pairs(batch, 0.1))


def test_energy_is_the_polynomial_and_forces_are_zero():
    frames = replace(make_liquid(), cell=TRICLINIC[None].astype(np.float32))
    x = frames.volumes() / (64 * 0.05) - 1.0
    prediction = predict_term(frames)
    np.testing.assert_allclose(prediction.energy.numpy(), 64 * (-3.0 * x + 20.0 * x**2), rtol=1e-7)
    assert torch.all(prediction.forces == 0.0)


def test_closed_form_equals_the_strain_derivative_of_the_readable_twin():
    frames = replace(make_liquid(), cell=TRICLINIC[None].astype(np.float32))
    batch = build_batch(frames, np.array([0]), dtype=torch.float64)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    strained = replace(batch, cell=batch.cell + batch.cell @ strain)
    energy = TERM(strained, find_pairs(batch, 0.1)).sum()
    (stress,) = torch.autograd.grad(energy, strain)
    prediction = predict_term(frames)
    torch.testing.assert_close(prediction.energy[0], energy.detach(), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(prediction.virial[0], -stress, rtol=1e-12, atol=1e-12)


def test_the_pressure_is_minus_the_derivative_by_the_volume():
    frames, step = make_liquid(), 1e-4
    volume = float(frames.volumes()[0])

    def energy(factor):
        cell = (frames.cell.astype(np.float64) * factor ** (1 / 3)).astype(np.float64)
        return float(predict_term(replace(frames, cell=cell)).energy[0])

    slope = (energy(1.0 + step) - energy(1.0 - step)) / (2.0 * step * volume)
    prediction = predict_term(frames)
    assert float(torch.trace(prediction.virial[0])) / (3.0 * volume) == pytest.approx(-slope, rel=1e-6)


def test_the_term_is_extensive_and_counts_molecules_instead_of_beads():
    frames = make_liquid()
    one, eight = predict_term(frames), predict_term(replicate(frames, (2, 2, 2)))
    torch.testing.assert_close(eight.energy, 8.0 * one.energy, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(eight.virial, 8.0 * one.virial, rtol=1e-6, atol=0.0)
    # five beads, one molecule
    chain = replace(make_random_chains(1), cell=(2.0 * np.eye(3, dtype=np.float32))[None])
    x = 8.0 / 0.05 - 1.0
    assert float(predict_term(chain).energy[0]) == pytest.approx(-3.0 * x + 20.0 * x**2)


def test_the_term_comes_back_from_files_and_adds_to_the_force_field(tmp_path):
    frames = make_liquid()
    plain = make_force_field(SoftPair())
    force_field = ForceField([TERM], None, plain.record)
    save_force_field(force_field, tmp_path)
    (loaded,) = load_force_field(tmp_path).prior
    assert loaded.to_config() == TERM.to_config()
    batch = build_batch(frames, np.array([0]), dtype=torch.float64)
    pairs = find_pairs(batch, 0.5)
    both = predict(ForceField([SoftPair(), loaded], None, plain.record), batch, pairs)
    alone = predict(plain, batch, pairs)
    torch.testing.assert_close(both.energy, alone.energy + predict_term(frames).energy)
    torch.testing.assert_close(both.virial, alone.virial + predict_term(frames).virial)
    assert torch.equal(both.forces, alone.forces)


def test_an_open_system_has_no_volume():
    with pytest.raises(InputError, match="depends on the volume, but the system has no periodic cell"):
        predict_term(replace(make_liquid(), cell=None))


@pytest.mark.parametrize(
    ("coefficients", "volume", "message"), [((), 0.05, "at least one"), ((1.0,), 0.0, "reference volume")]
)
def test_a_polynomial_without_terms_or_volume_is_refused(coefficients, volume, message):
    with pytest.raises(InputError, match=message):
        VolumeTerm(coefficients, reference_volume=volume)
