"""A process that compiles the kernels and one that loads them from disk must give the same bits, or a kill shows."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, sys
import torch
sys.path[:0] = {path!r}
from beadsmith.energy import predict_network
from beadsmith.neighbors import find_pairs
from beadsmith.networks.kinds import build_network
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.batch import build_batch
from example_force_matching import make_labelled_liquid
import numpy as np

torch.set_num_threads(1)
liquid = make_labelled_liquid(0, n_frames=1, noise=10.0)
batch = build_batch(liquid, np.array([0]))
network = build_network({settings}, liquid.topology.type_names, torch.Generator().manual_seed(0))
pairs = find_pairs(batch, network.cutoff)
forces = predict_network(network, batch, pairs, create_graph=True).forces
forces.square().mean().backward()
digest = hashlib.sha256(forces.detach().numpy().tobytes())
for parameter in network.parameters():
    if parameter.grad is not None:
        digest.update(parameter.grad.numpy().tobytes())
with torch.no_grad():
    digest.update(predict_network(network, batch, pairs).forces.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        "HipnnSettings(cutoff=0.6, soft_max=0.5)",
        "HipnnSettings(cutoff=0.6, soft_max=0.5, l_max=2, n_interactions=2)",
        "SchnetSettings(cutoff=0.6)",
        "MaceSettings(cutoff=0.6)",
    ],
    ids=["hipnn", "hipnn, two interactions", "schnet", "mace"],
)
def test_compiled_and_loaded_kernels_give_the_same_bits(settings, tmp_path):
    path = [os.path.dirname(os.path.dirname(__file__))]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT.format(path=path, settings=settings)]
    found = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in "ab"]
    assert any(tmp_path.rglob("*.nbc"))
    assert found[0] == found[1] != ""
