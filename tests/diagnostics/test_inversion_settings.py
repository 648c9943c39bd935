"""The barrier of inversion in the configuration: its units, and what is refused before anything runs."""

import pytest

from beadsmith.config.load import load_config
from beadsmith.errors import InputError
from beadsmith.pipeline.estimate import estimate_costs
from small_run import SMALL_YAML

PEPTIDE_YAML = """\
name: peptide
system: {kind: peptide, sequence: ACE-ALA-NME}
state: {temperature: 300 K}
sampling: {replicas: 3, duration: 20 ps, save_interval: 0.1 ps}
mapping: {beads: backbone_cb}
"""


def load(folder, text, *overrides):
    path = folder / "run.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def test_a_barrier_is_off_and_one_switch_turns_it_on(tmp_path):
    assert load(tmp_path, PEPTIDE_YAML).evaluation.inversion_barrier is None
    found = load(tmp_path, PEPTIDE_YAML + "evaluation: {inversion_barrier: {}}\n").evaluation.inversion_barrier
    assert found.runs == 2
    override = "evaluation.inversion_barrier={width: 0.1 rad, height: 0.2 kcal/mol, duration: 1 ns}"
    found = load(tmp_path, PEPTIDE_YAML, override).evaluation.inversion_barrier
    assert found.width == pytest.approx(5.729578, rel=1e-6)
    assert found.height == pytest.approx(0.8368)
    assert found.duration == 1000.0


def test_a_barrier_in_a_liquid_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match="the system has 40 molecules"):
        load(tmp_path, SMALL_YAML, "evaluation.inversion_barrier={}")


def test_a_barrier_without_a_network_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no network to ask"):
        load(tmp_path, PEPTIDE_YAML, "network=none", "evaluation.inversion_barrier={}")


def test_a_bias_that_is_none_is_refused_with_its_place(tmp_path):
    with pytest.raises(InputError, match=r"'evaluation.inversion_barrier.bias_factor' is 1.0, expected > 1"):
        load(tmp_path, PEPTIDE_YAML, "evaluation.inversion_barrier={bias_factor: 1}")


def test_the_estimate_counts_the_steps_of_a_barrier(tmp_path):
    short, long = (
        {entry.stage: entry for entry in estimate_costs(load(tmp_path, PEPTIDE_YAML, *overrides))}["evaluate"]
        for overrides in ((), ("evaluation.inversion_barrier={duration: 20 ps}",))
    )
    # two runs of 20 ps at 2 fs
    assert "20000 steps of metadynamics" in long.work
    assert long.time - short.time > 20000 * 1e-3
