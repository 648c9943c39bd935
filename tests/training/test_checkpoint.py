"""Checkpoints: exact, atomic in one file, and only for the work they belong to."""

import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.training.checkpoint import FitFiles, load_checkpoint, load_optimiser_, optimiser_tensors, save_checkpoint


def make_files(folder, identity="a"):
    """Return the place of one checkpoint."""
    return FitFiles(checkpoint=folder / "new" / "fit.safetensors", identity=identity)


def test_tensors_and_floats_come_back_exactly(tmp_path):
    tensors = {"weights": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), "step": torch.tensor(7)}
    counters = {"rate": 0.1 + 0.2, "log": [{"loss": 1e-300}], "reason": ""}
    save_checkpoint(make_files(tmp_path), tensors=tensors, counters=counters)
    saved = load_checkpoint(make_files(tmp_path))
    assert saved is not None
    assert saved[1] == counters
    assert all(torch.equal(saved[0][name], tensor) for name, tensor in tensors.items())


def test_a_checkpoint_of_another_identity_is_ignored(tmp_path):
    save_checkpoint(make_files(tmp_path), tensors={"x": torch.zeros(1)}, counters={})
    assert load_checkpoint(make_files(tmp_path, "b")) is None


def test_no_checkpoint_is_no_error(tmp_path):
    assert load_checkpoint(make_files(tmp_path)) is None


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    files = make_files(tmp_path)
    save_checkpoint(files, tensors={"x": torch.zeros(100)}, counters={})
    files.checkpoint.write_bytes(files.checkpoint.read_bytes()[:50])
    with pytest.raises(InputError, match="Delete it"):
        load_checkpoint(files)


def test_optimiser_goes_on_as_if_never_stopped():
    """Five steps and five steps equal ten bit for bit."""

    def descend(weights, optimiser, n_steps):
        for _ in range(n_steps):
            optimiser.zero_grad()
            (weights**4).sum().backward()
            optimiser.step()

    straight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    first = torch.optim.AdamW([straight], lr=0.1)
    descend(straight, first, 5)
    resumed = torch.nn.Parameter(straight.detach().clone())
    second = torch.optim.AdamW([resumed], lr=0.1)
    load_optimiser_(second, optimiser_tensors(first))
    descend(straight, first, 5)
    descend(resumed, second, 5)
    assert torch.equal(straight, resumed)
