"""Virials as labels: components, and the pressure a force field is off by on the frames of the reference."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.training.data import segment_labels
from beadsmith.training.virial_components import to_components, virial_components
from beadsmith.training.virial_labels import has_virials, measure_virials, predict_virials
from beadsmith.units import BAR
from example_force_fields import SoftPair, make_force_field, make_liquid

MODEL = make_force_field(SoftPair(height=200.0)).double()
ROWS = np.stack([np.zeros(40, dtype=np.int64), np.arange(40)], axis=1)


def make_labelled(*, shift=0.0, noise=0.0, seed=0):
    """Return frames whose virials are those of a pair potential, plus a pressure [bar] and noise [kJ/mol]."""
    frames = make_liquid(n_frames=40)
    virials = predict_virials(MODEL, frames, np.arange(40), cutoff=0.5, dtype=torch.float64)
    drawn = np.random.default_rng(seed).normal(0.0, noise, (40, 6))
    noisy = virials + np.einsum("fc,cxy->fxy", drawn, to_basis())
    return replace(frames, virial=noisy + shift * BAR * frames.volumes()[:, None, None] * np.eye(3))


def to_basis():
    """Return the tensors of which a virial of unit components is made."""
    inverse = np.linalg.pinv(virial_components(np.eye(9).reshape(9, 3, 3)).T)
    return inverse.T.reshape(6, 3, 3)


def measure(trajectory):
    labels = segment_labels((trajectory,), ROWS)
    return measure_virials(
        {"model": MODEL}, (trajectory,), ROWS, labels, cutoff=0.5, dtype=torch.float64
    )  # fmt: skip


def test_components_keep_the_length_of_a_symmetric_tensor_and_begin_with_its_trace():
    tensors = np.random.default_rng(0).normal(size=(5, 3, 3))
    tensors = tensors + tensors.transpose(0, 2, 1)
    components = virial_components(tensors)
    np.testing.assert_allclose((components**2).sum(1), (tensors**2).sum((1, 2)))
    np.testing.assert_allclose(components[:, 0], np.trace(tensors, axis1=1, axis2=2) / np.sqrt(3.0))
    np.testing.assert_allclose(to_components(torch.from_numpy(tensors)).numpy(), components)


def test_components_of_a_rotated_tensor_have_the_same_length_part_by_part():
    generator = np.random.default_rng(1)
    rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    tensor = generator.normal(size=(3, 3))
    tensor = tensor + tensor.T
    first, second = virial_components(np.array([tensor, rotation @ tensor @ rotation.T]))
    assert first[0] == pytest.approx(second[0])
    assert (first[1:] ** 2).sum() == pytest.approx((second[1:] ** 2).sum())


def test_a_force_field_that_made_the_virials_explains_them_all():
    found = measure(make_labelled())["models"]["model"]
    assert found["pressure_error"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert found["explained"]["value"] == pytest.approx(1.0, abs=1e-9)


def test_a_pressure_that_is_missing_is_found_in_bar():
    found = measure(make_labelled(shift=-1500.0, noise=3.0))["models"]["model"]
    error = found["pressure_error"]["error"]
    assert error < 30.0
    # 5 blocks of 8 frames: an error known to a third, so 4 of them
    assert abs(found["pressure_error"]["value"] - 1500.0) < 4.0 * error


def test_noise_of_the_labels_is_what_is_left():
    trajectory = make_labelled(noise=5.0)
    found = measure(trajectory)
    model = found["models"]["model"]
    # the trace is √3 times the first component; a standard deviation of 40 values is known to 11 %
    expected = 5.0 / np.sqrt(3.0) / float(trajectory.volumes()[0]) / BAR
    assert model["noise"]["value"] == pytest.approx(expected, rel=0.35)
    total = virial_components(trajectory.virial).var(axis=0).sum()
    assert model["explained"]["value"] == pytest.approx(1.0 - 6.0 * 25.0 / total, abs=0.1)
    assert found["n_frames"] == 40


def test_frames_without_virials_or_cell_are_left_out():
    labelled = make_labelled()
    assert has_virials(labelled)
    for bare in (replace(labelled, virial=None), replace(labelled, cell=None)):
        assert not has_virials(bare)
        assert measure(bare) is None
