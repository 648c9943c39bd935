"""The report on hands and bonds: every probe in a table, switched bonds in a figure, nothing where it has no sense."""

import json

import numpy as np
import pytest

from beadsmith.analysis.evaluate import EvaluationSettings, evaluate
from beadsmith.diagnostics.probes import probe_force_field
from beadsmith.io.h5md import write_trajectory
from beadsmith.io.records import to_plain
from beadsmith.report.figures.style import Figure
from beadsmith.report.symmetry import compose_symmetry, has_symmetry
from beadsmith.report.tables import Table
from example_evaluations import make_evaluation, make_system
from example_molecules import make_molecule, make_six_beads, make_six_topology
from example_networks import make_network_force_field

RUNS = ("atomistic reference", "network")


def make_frames(generator, *, hand=1.0):
    """Return 400 frames of alanine in two replicas."""
    phi, psi = -75.0 + generator.normal(0.0, 15.0, 400), 145.0 + generator.normal(0.0, 15.0, 400)
    positions = make_six_beads(phi, psi, hand=hand, noise=0.003)
    return make_molecule(positions, make_six_topology(), segment=np.repeat([0, 1], 200))


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Return the evaluation of a run that flips its stereocentre once, with the probes of a blind network."""
    folder = tmp_path_factory.mktemp("symmetry")
    generator = np.random.default_rng(0)
    hand = np.where(np.arange(400) < 350, 1.0, -1.0)
    write_trajectory(folder / "mapped.h5", make_frames(generator))
    write_trajectory(folder / "simulation.h5", make_frames(generator, hand=hand))
    found = evaluate(folder / "mapped.h5", {"network": folder / "simulation.h5"}, EvaluationSettings())
    molecules = found["systems"]["reference"]["molecules"]
    found["probes"] = probe_force_field(make_network_force_field(), folder / "mapped.h5", molecules, temperature=300.0)
    return to_plain(found)


def table_of(items, start, *, run=None):
    """Return the table whose caption begins so, as first column → the other cells by title, of one run if several."""
    table = next(item for item in items if isinstance(item, Table) and item.caption.startswith(start))
    rows = [row for row in table.rows if run is None or row[1] == run]
    return {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in rows}


def figures_of(items):
    """Return the figures by name."""
    return {figure.name: figure for item in items if isinstance(item, list) for figure in item}


def test_every_probe_and_every_hand_has_its_table(evaluation):
    items = compose_symmetry(evaluation)
    assert items[0].startswith("The force field gives every configuration the energy of its mirror image.")
    parity = table_of(items, "Parity probe")
    assert float(parity["network"]["largest relative difference"]) < 1e-12
    exchanges = table_of(items, "Exchange probe")
    assert exchanges["1:C and 2:C"]["they are of"] == "one type"
    assert exchanges["1:C and 2:C"]["network [kJ/mol]"] == "0"
    assert exchanges["2:N and 2:CA"]["network [kJ/mol]"] != "0"
    centres = {name: table_of(items, "Stereocentres", run=name)["2:CA"] for name in RUNS}
    assert [centre["flips"] for centre in centres.values()] == ["0", "1"]
    assert centres["network"]["path [kJ/mol]"] != "–"
    assert centres["network"]["barrier [kJ/mol]"] == "–"
    # only the network was probed
    assert centres["atomistic reference"]["path [kJ/mol]"] == "–"
    for name in RUNS:
        found = table_of(items, "Maps of ACE-ALA-NME", run=name)["phi, psi"]
        # one hand never looks like the other, without an error to speak of
        assert found["asymmetry [nat]"] == "0.693"
        assert found["share"].startswith("phi > 0: 0")
    bonds = table_of(items, "Bonds and contacts")
    assert set(bonds["bonds that ever switched"].values()) == {"0\u00a0%"}
    assert bonds["first of them"]["network"] == "–"


def test_switched_bonds_and_neighbours_are_drawn_for_every_run(evaluation):
    figures = figures_of(compose_symmetry(evaluation))
    assert list(figures) == ["switched-bonds", "nearest-neighbours"]
    for figure in figures.values():
        assert isinstance(figure, Figure)
        traces = json.loads(figure.json)["data"]
        assert {trace["name"] for trace in traces if trace.get("name")} == set(RUNS)
        # the dotted lines of a run have no entry of their own
        assert sum(trace.get("showlegend", True) for trace in traces if trace.get("name")) == 2
    assert "6 standard deviations" in figures["switched-bonds"].caption


def test_a_barrier_is_drawn_and_tabled_as_the_lower_bound_that_it_is(evaluation):
    angles = np.linspace(-180.0, 180.0, 61)
    barrier = {
        "barrier": {"value": 75.0, "standard_error": 2.0, "unit": "kJ/mol", "n_samples": 2},
        "is_crossed": False,
        "waiting_time": {"value": 2.0e12, "unit": "ps"},
        "profile": {
            "improper": angles.tolist(),
            "free_energy": (20.0 * np.cos(np.radians(angles))).tolist(),
            "standard_error": np.ones(61).tolist(),
        },
    }
    probes = evaluation["probes"] | {"inversion_barrier": {"ACE-ALA-NME": {"2:CA": barrier}}}
    items = compose_symmetry(evaluation | {"probes": probes})
    row = table_of(items, "Stereocentres", run="network")["2:CA"]
    assert row["barrier [kJ/mol]"] == "at least 75 ± 2".replace(" ±", "\u00a0±").replace("± ", "±\u00a0")
    assert row["one inversion in"] == "at least 2 s"
    assert "barrier-2_CA" in figures_of(items)


def test_a_run_without_a_network_has_no_probes_but_its_bonds(evaluation):
    items = compose_symmetry(evaluation | {"probes": None})
    assert not any(isinstance(item, Table) and "probe" in item.caption for item in items)
    assert "switched-bonds" in figures_of(items)


def test_a_liquid_of_single_beads_has_no_such_section():
    systems = {"reference": make_system(bond_identity=None)}
    assert not has_symmetry(make_evaluation(systems=systems))
    assert not has_symmetry(None)
