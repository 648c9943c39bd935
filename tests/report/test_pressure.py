"""What the report says about virials, a trained pressure, and a run at constant pressure."""

from beadsmith.report.sections import _describe_pressure as describe_section
from beadsmith.report.tables import tabulate_state, tabulate_virials
from beadsmith.report.verdict import _describe_pressure as describe_verdict
from example_evaluations import make_comparison, make_evaluation, make_system, measurement


def make_training(*, labels=None):
    """Return what a training says about the virials of two models."""

    def entry(value):
        return {
            "pressure_error": {"value": value, "error": 26.0, "unit": "bar"},
            "explained": {"value": 0.21, "error": 0.03},
            "noise": {"value": 282.0, "unit": "bar"},
        }

    models = {"pair_spline": entry(2707.0), "network": entry(-34.0), "network_with_volume_term": entry(-2.0)}
    return {"virials": {"n_frames": 200, "models": models}, "labels": [{"labels": labels or {}}]}


def test_every_model_has_a_row_with_its_pressure_error_in_bar():
    table = tabulate_virials(make_training())
    assert [row[0] for row in table.rows] == ["pair spline", "network", "network and term of the volume"]
    assert "−34" in table.rows[1][1].replace("-", "−")
    assert "bar" in table.rows[1][1]
    assert "Virials were not among the labels" in table.caption


def test_the_noise_of_virial_labels_is_named():
    table = tabulate_virials(make_training(labels={"virials": {"noise": 490.5}}))
    assert "noise of 490" in table.caption or "noise of 491" in table.caption
    assert "file" not in table.caption


def test_every_file_with_virials_is_named_with_its_own_noise_and_weight():
    training = make_training()
    entries = [
        {"virials": {"noise": 490.0, "mean_weight": 0.25}},
        {},
        {"virials": {"noise": 300.0, "mean_weight": 0.5}},
    ]
    training["labels"] = [{"labels": entry} for entry in entries]
    caption = tabulate_virials(training).caption
    assert "noise of 490 kJ/mol, weight 0.250 /nm² (file 1); noise of 300 kJ/mol, weight 0.500 /nm² (file 3)" in caption
    training["labels"] = [{"labels": {}}, {"labels": entries[0]}]
    assert "(file 2)" in tabulate_virials(training).caption, "the first file may have none"


def test_a_training_without_virials_has_no_table():
    assert tabulate_virials({"virials": None}) is None
    assert tabulate_virials({}) is None


def make_constant_pressure():
    """Return an evaluation of a network at 1 bar."""
    systems = {
        "reference": make_system(density=measurement(0.775, 0.001, "g/cm^3"), compressibility=None),
        "network": make_system(
            density=measurement(0.766, 0.002, "g/cm^3"),
            compressibility=measurement(2.0, 0.2, "1/GPa"),
            pressure_set={"value": 1.0, "unit": "bar"},
        ),
    }
    comparison = make_comparison() | {"density_difference": measurement(-0.009, 0.002, "g/cm^3")}
    return make_evaluation(systems=systems, comparisons={"network": comparison})


def test_the_verdict_of_a_run_at_constant_pressure_is_its_density():
    sentence = describe_verdict(make_constant_pressure())
    assert sentence.startswith("At 1 bar its density is 0.766")
    assert "0.775" in sentence
    assert "constant volume only" in describe_verdict(make_evaluation())


def test_the_advice_on_constant_pressure_depends_on_the_training():
    assert "never at constant pressure" in describe_section(make_evaluation(), knows_pressure=False)
    assert "may the model be used at constant pressure" in describe_section(make_evaluation(), knows_pressure=True)


def test_density_and_compressibility_have_rows_where_they_were_measured():
    evaluation = make_constant_pressure()
    for system in evaluation["systems"].values():
        system |= {"length": {"value": 100.0, "unit": "ps"}, "diffusion": {}, "hottest_frame": None}
    rows = {row[0]: row[1:] for row in tabulate_state(evaluation).rows}
    assert any("0.766" in cell for cell in rows["density"])
    assert any("2.0" in cell for cell in rows["isothermal compressibility"])
    assert "heat capacity without kinetic part, of one molecule" not in rows


def test_energies_and_entropies_have_rows_and_their_zeros_are_said():
    evaluation = make_constant_pressure()
    for name, system in evaluation["systems"].items():
        system |= {"length": {"value": 100.0, "unit": "ps"}, "diffusion": {}, "hottest_frame": None}
        system |= {"bead_energy": measurement(-3.0, 0.1, "kJ/mol"), "bead_entropy": measurement(7.0, 0.2, "J/mol/K")}
        system["mean_energy"] = measurement(-21.0 if name == "reference" else -20.5, 0.1, "kJ/mol")
    difference = measurement(0.5, 0.2, "kJ/mol") | {"training_temperatures": {"values": [300.0, 400.0], "unit": "K"}}
    comparison = evaluation["comparisons"]["network"]
    comparison |= {"energy_difference": difference, "no_energy_difference": None}
    table = tabulate_state(evaluation)
    rows = {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in table.rows}
    energies = rows["mean potential energy of one molecule"]
    assert [energies[name][:6] for name in ("atomistic reference", "network")] == ["−21.00", "−20.50"]
    assert rows["mean S(R) of one molecule, zero of the network"]["network"].startswith("7.0")
    assert "straight line in temperature" in table.caption
    assert "at 300, 400 K" in table.caption
    assert "network minus reference is 0.5\u00a0±\u00a00.2\u00a0kJ/mol" in table.caption
    comparison |= {"energy_difference": None, "no_energy_difference": "the reference has no energies"}
    assert (
        "not compared with the energy of the atoms: the reference has no energies" in tabulate_state(evaluation).caption
    )
