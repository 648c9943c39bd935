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
