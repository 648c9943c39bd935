"""Bond lengths between the beads of a reference without constraints are those of the published one."""

from pathlib import Path

import numpy as np
import pytest

import beadsmith
from beadsmith.analysis.internal import distances
from beadsmith.io.h5md import read_trajectory

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = (
    "sampling.replicas=1",
    "sampling.equilibration=20 ps",
    "sampling.duration=200 ps",
    "mapping.files=[]",
    "mapping.beads=backbone",
)


def test_bonds_of_unconstrained_alanine_are_those_of_the_published_reference(tmp_path):
    config = EXAMPLES / "peptides" / "capped_alanine.yaml"
    result = beadsmith.run(config, SHORT, output=tmp_path / "run", verbs=("sample", "map"))
    mapped = read_trajectory(result.folder / "mapped.h5")
    lengths = distances(mapped.positions, mapped.topology.bonds)
    # C-N, N-CA, CA-C, C-N in explicit water, given to 0.001 nm; 2,000 frames know a mean to 0.00007 nm
    np.testing.assert_allclose(lengths.mean(axis=0), [0.133, 0.147, 0.155, 0.134], rtol=0.0, atol=0.001)
    assert np.all((lengths.std(axis=0) > 0.002) & (lengths.std(axis=0) < 0.0035))
