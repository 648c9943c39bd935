"""One small run of all stages, made once per test session and shared by all modules and workers."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

import beadsmith

SMALL_YAML = """\
name: small
seed: 3
system:
  molecules:
    - {name: methanol, count: 40}
state:
  temperature: 300 K
  density: 0.75 g/cm^3
sampling:
  equilibration: 1 ps
  duration: 6 ps
  save_interval: 0.1 ps
  checkpoint_interval: 1 ps
  cutoff: 0.7 nm
  threads: 1
mapping:
  chunk_frames: 10
prior:
  cutoff: 0.7 nm
  n_intervals: 16
network:
  n_features: 4
  n_atom_layers: 1
  n_sensitivities: 8
  cutoff: 0.7 nm
  soft_max: 0.6 nm
training:
  epochs: 3
  checkpoint_interval: 0.05 s
  noise_floor_fractions: []
simulation:
  equilibration: 0.2 ps
  duration: 2 ps
  save_interval: 0.05 ps
  checkpoint_interval: 0.05 s
evaluation:
  discard: 0.5 ps
  window_end: 0.7 nm
"""
"""Forty methanols in a box of 1.4 nm: every stage at work, none of it accurate."""


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``small.yaml`` and its finished run ``run``; copy it before changing anything."""
    # one folder for all workers of pytest-xdist, and for all modules that import this fixture
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small-run"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "made").exists():
            shutil.rmtree(shared / "run", ignore_errors=True)
            (shared / "small.yaml").write_text(SMALL_YAML)
            beadsmith.run(shared / "small.yaml", output=shared / "run")
            (shared / "made").touch()
    return shared


@pytest.fixture
def small_run(finished_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run that a test may change: a folder with ``small.yaml`` and ``run``."""
    shutil.copytree(finished_run / "run", tmp_path / "run")
    shutil.copy(finished_run / "small.yaml", tmp_path / "small.yaml")
    return tmp_path
