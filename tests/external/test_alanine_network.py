"""SchNet on top of the prior, held out on capped alanine: the figures of `benchmarks.accuracy.alanine_folds` again."""

import numpy as np
import pytest
from benchmarks.accuracy.alanine_folds import DATA, N_FOLDS, measure_fold, read_optimal_frames, read_slice_frames

pytestmark = [pytest.mark.external, pytest.mark.slow]


def measure(read, folder):
    if not (DATA / folder).is_dir():
        pytest.skip(f"no external data at '{DATA / folder}' (set BEADSMITH_DATA)")
    read_fold = read(DATA)
    rows = [measure_fold(read_fold(fold), fold, seed=4) for fold in range(N_FOLDS)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_network_on_optimal_labels_of_2000_frames():
    losses = measure(read_optimal_frames, "alanine-aa-proteka")
    assert losses["network"].mean() <= 78.0
    assert np.all(losses["network"] < losses["linear"])


def test_network_on_the_published_labels():
    losses = measure(read_slice_frames, "alanine-cg-cgnet")
    # below 379, held-out frames would have been seen
    assert 379.0 <= losses["network"].mean() <= 383.0
    assert np.all(losses["network"] < losses["harmonic_prior"])
