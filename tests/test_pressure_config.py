"""Configurations at constant pressure, and those that ask for a pressure where there is none."""

import pytest

from beadsmith.config.load import load_config
from beadsmith.errors import InputError
from beadsmith.units import BAR

LIQUID = """
name: test
system: {molecules: [{name: methanol, count: 256}]}
state: {temperature: 300 K, density: 0.75 g/cm^3}
"""
PEPTIDE = """
name: test
system: {kind: peptide, sequence: ACE-ALA-NME}
state: {temperature: 300 K}
"""


def load(tmp_path, text):
    """Return the settings of a configuration."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_config(path)


def test_a_pressure_in_bar_and_a_barostat_are_read(tmp_path):
    settings = load(tmp_path, LIQUID + "simulation: {pressure: 2 bar, barostat: {interval: 0.05 ps}}\n")
    assert settings.simulation.pressure == pytest.approx(2.0 * BAR)
    assert settings.simulation.volume_stride == 10
    assert load(tmp_path, LIQUID).simulation.volume_stride is None


def test_virials_and_a_term_of_the_volume_are_read(tmp_path):
    text = LIQUID + "training: {labels: {virials: 1}, volume_term: {method: simulation}}\n"
    training = load(tmp_path, text).training
    assert training.labels.virials == 1.0
    assert (training.volume_term.order, training.volume_term.method) == (1, "simulation")
    assert load(tmp_path, LIQUID + "training: {volume_term: {}}\n").training.volume_term.method == "labels"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LIQUID + "simulation: {pressure: 2}\n", "without a unit"),
        (LIQUID + "simulation: {pressure: 2 nm}\n", "pressure"),
        (
            LIQUID + "simulation: {barostat: {interval: 0.05 ps}}\n",
            "'simulation.barostat' is given without a 'pressure'",
        ),
        (LIQUID + "simulation: {pressure: 1 bar, integrator: brownian}\n", "needs the integrator langevin"),
        (LIQUID + "training: {volume_term: {order: 3}}\n", "'training.volume_term.order' is 3"),
        (LIQUID + "training: {volume_term: linear}\n", "expected a section"),
        (LIQUID + "training: {labels: {virials: -1}}\n", "'training.labels.virials' is -1"),
        (LIQUID + "network: none\ntraining: {labels: {virials: 1}}\n", "pair splines are fitted to forces alone"),
        (PEPTIDE + "simulation: {pressure: 1 bar}\n", "'simulation.pressure' is given, but a peptide without a box"),
        (PEPTIDE + "training: {labels: {virials: 1}}\n", "'training.labels.virials' is given, but a peptide"),
        (PEPTIDE + "training: {volume_term: {}}\n", "'training.volume_term' is given, but a peptide"),
    ],
)
def test_a_pressure_that_cannot_be_is_refused_with_its_key(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, text)
    assert "config.yaml" in str(caught.value)
