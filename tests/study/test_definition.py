"""The file of a study: axes become runs, and what cannot be meant is refused with file and line."""

from pathlib import Path

import pytest
import yaml

from beadsmith.config.load import load_config
from beadsmith.config.quantities import parse_quantity
from beadsmith.errors import InputError
from beadsmith.study.cautions import list_cautions
from beadsmith.study.definition import read_study
from beadsmith.units import BAR
from example_studies import GRID, MAPPINGS, SPLINE_AND_NETWORK, describe_base, make_study, write_study

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("study_*.yaml"))
MACE = {"kind": "mace", "cutoff": "0.7 nm", "n_features": 2}


def names(study):
    return [run.name for run in study.runs]


def test_every_mapping_meets_every_network(tmp_path):
    study = make_study(tmp_path, mappings=MAPPINGS, networks=SPLINE_AND_NETWORK)
    assert names(study) == ["centre-spline", "centre-hipnn", "oxygen-spline", "oxygen-hipnn"]
    assert study.axes == {"mapping": ("centre", "oxygen"), "network": ("spline", "hipnn")}
    assert study.runs[0].settings.network is None
    assert study.runs[2].settings.mapping.definitions[0].name == "methanol"


def test_an_option_replaces_its_whole_section(tmp_path):
    base = describe_base(mapping={"masses": "standard"})
    study = make_study(tmp_path, mappings={"a": {}, "b": {"forces": "sum"}}, base=base)
    assert [run.settings.mapping.masses for run in study.runs] == ["simulation", "simulation"]
    assert [run.settings.mapping.forces for run in study.runs] == ["optimal", "sum"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_study_among_the_examples_can_be_planned(monkeypatch, name):
    monkeypatch.chdir(ROOT)
    study = read_study(Path("examples") / name)
    assert len(study.runs) > 5
    assert all(run.settings.state.temperature > 0.0 for run in study.runs)


def test_correlations_and_cutoffs_multiply_only_the_networks_that_have_them(tmp_path):
    networks = {**SPLINE_AND_NETWORK, "mace": MACE}
    study = make_study(tmp_path, networks=networks, correlations=[1, 3], cutoffs=["0.65 nm", "0.7 nm"])
    assert names(study) == [
        "spline",
        "hipnn-0.65nm",
        "hipnn-0.7nm",
        "mace-nu1-0.65nm",
        "mace-nu1-0.7nm",
        "mace-nu3-0.65nm",
        "mace-nu3-0.7nm",
    ]
    assert [run.settings.network.correlation for run in study.runs[3:]] == [1, 1, 3, 3]
    assert study.runs[1].settings.network.cutoff == pytest.approx(0.65)


def test_an_axis_of_ones_own_sets_dotted_keys(tmp_path):
    axes = {"wall": {"tangent": {}, "none": {"prior.repulsion": "none"}}}
    study = make_study(tmp_path, networks=SPLINE_AND_NETWORK, axes=axes)
    assert names(study) == ["spline-tangent", "spline-none", "hipnn-tangent", "hipnn-none"]
    assert [run.settings.prior.repulsion for run in study.runs] == ["tangent", "none"] * 2


def test_combinations_can_be_left_out(tmp_path):
    skip = [{"mapping": "oxygen", "network": "hipnn"}]
    study = make_study(tmp_path, mappings=MAPPINGS, networks=SPLINE_AND_NETWORK, skip=skip)
    assert "oxygen-hipnn" not in names(study)
    assert len(study.runs) == 3


def test_all_runs_share_what_makes_them_comparable(tmp_path):
    study = make_study(tmp_path, networks=SPLINE_AND_NETWORK, replicas=3)
    for run in study.runs:
        assert run.settings.simulation.replicas == 3
        assert run.settings.simulation.all_stopped == "keep"
        assert not run.settings.baseline


def test_the_base_may_be_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(describe_base()))
    path = write_study(tmp_path, base="base.yaml", networks=SPLINE_AND_NETWORK)
    assert names(read_study(path)) == ["spline", "hipnn"]


def test_a_command_for_one_run_says_that_a_study_is_none(tmp_path):
    path = write_study(tmp_path, networks=SPLINE_AND_NETWORK)
    with pytest.raises(InputError, match=r"describes a study.*beadsmith study"):
        load_config(path)


def test_a_transfer_study_trains_at_each_state_and_jointly_and_tests_everywhere(tmp_path):
    study = make_study(tmp_path, **GRID, networks={"spline": "none"})
    roles = [run.role for run in study.runs]
    assert (roles.count("state"), roles.count("training"), roles.count("result")) == (4, 5, 20)
    joint = next(run for run in study.runs if run.name == "train-spline-joint")
    assert len(joint.settings.train_with) == 3
    assert joint.sources == tuple(run.name for run in study.runs if run.role == "state")
    cell = next(run for run in study.runs if run.name == "spline-joint-at-330K_0.7g_cm3")
    assert cell.settings.trained_in == str(tmp_path / "toy" / "runs" / "train-spline-joint")
    assert cell.settings.state.temperature == 330.0
    assert cell.settings.state.density == pytest.approx(parse_quantity("0.7 g/cm^3", "u/nm**3", name="", where=""))


def plan_pressures(tmp_path, simulation, **entries):
    """Return the pressure [bar] of each simulation of a grid of pressures, and what the study warns of."""
    base = describe_base(simulation=simulation)
    grid = {"kind": "transfer", "pressures": ["1 bar", "0.1 GPa"], "networks": {"spline": "none"}, "base": base}
    study = make_study(tmp_path, **grid | entries)
    found = {run.name.split("-at-")[1]: run.settings.simulation.pressure for run in study.results}
    return {name: value and value / BAR for name, value in found.items()}, list_cautions(study)


def test_every_cell_of_a_grid_of_pressures_is_simulated_at_its_pressure(tmp_path):
    found, cautions = plan_pressures(tmp_path, {"barostat": {"interval": "0.05 ps"}})
    assert found == pytest.approx({"1bar": 1.0, "0.1GPa": 1000.0})
    assert "6 of 6 simulations are at constant pressure" in cautions[0]


def test_a_grid_of_pressures_can_keep_the_boxes(tmp_path):
    assert plan_pressures(tmp_path, {"pressure": "none"}) == ({"1bar": None, "0.1GPa": None}, [])


def test_a_force_field_that_is_told_the_pressure_is_not_warned_of(tmp_path):
    base = describe_base(training={"volume_term": {}})
    assert not plan_pressures(tmp_path, {}, base=base)[1]
    labels = {"forces": {}, "virials": {"training.labels.virials": 1}}
    networks = {"hipnn": SPLINE_AND_NETWORK["hipnn"]}
    assert "6 of 12" in plan_pressures(tmp_path, {}, networks=networks, axes={"labels": labels})[1][0]


def test_sets_choose_states_by_their_values_in_any_unit(tmp_path):
    sets = {"hot": {"temperatures": ["0.33 kK"]}, "corner": {"temperatures": ["300 K"], "densities": ["700 kg/m^3"]}}
    study = make_study(tmp_path, **GRID, networks={"spline": "none"}, sets=sets)
    sources = {run.name: run.sources for run in study.runs if run.role == "training"}
    assert sources == {
        "train-spline-hot": ("state-330K_0.7g_cm3", "state-330K_0.75g_cm3"),
        "train-spline-corner": ("state-300K_0.7g_cm3",),
    }


def test_skip_by_the_name_of_each_leaves_out_every_single_state(tmp_path):
    skip = [{"network": "hipnn", "train": "alone"}]
    sets = {"alone": "each", "joint": "all"}
    study = make_study(tmp_path, **GRID, networks=SPLINE_AND_NETWORK, sets=sets, skip=skip)
    trained = {name for name in names(study) if name.startswith("train-hipnn")}
    assert trained == {"train-hipnn-joint"}
    assert len([name for name in names(study) if name.startswith("train-spline")]) == 5


def test_a_training_that_no_cell_wants_falls_away(tmp_path):
    skip = [{"network": "spline", "train": "joint"}]
    study = make_study(tmp_path, **GRID, networks={"spline": "none"}, skip=skip)
    assert not any("joint" in name for name in names(study))


BAD = [
    ("no kind", {"kind": "maping"}, ("'maping'", "mapping or transfer", ":1")),
    ("unknown key", {"mapings": MAPPINGS}, ("unknown key 'mapings'", "'mappings'")),
    ("no axis", {}, ("no axis", "'mappings'")),
    ("empty axis", {"networks": {}}, ("'networks' is no section",)),
    ("list for a section", {"networks": ["none"]}, ("'networks' is no section",)),
    ("name of an option", {"networks": {"a/b": "none"}}, ("'a/b'", "letters, digits")),
    ("name of the study", {"name": "../x", "networks": SPLINE_AND_NETWORK}, ("'../x'", "--output")),
    ("base is missing", {"base": "nowhere.yaml", "networks": SPLINE_AND_NETWORK}, ("'nowhere.yaml' does not exist",)),
    ("bad configuration", {"networks": {"bad": {"cutof": "0.7 nm"}}}, ("run 'bad'", "'cutof'", "study.yaml:")),
    ("bad dotted key", {"axes": {"a": {"b": {"prior.bond": "none"}}}}, ("run 'b'", "'bond'", "'bonds'")),
    ("key of the study", {"axes": {"a": {"b": {"baseline": True}}}}, ("'baseline' is set by the study itself",)),
    ("axis twice", {"networks": SPLINE_AND_NETWORK, "axes": {"network": {"x": {}}}}, ("two axes called 'network'",)),
    ("skip of no axis", {"networks": SPLINE_AND_NETWORK, "skip": [{"netwrk": "x"}]}, ("'netwrk'", "Axes: network")),
    ("skip of no option", {"networks": SPLINE_AND_NETWORK, "skip": [{"network": "hipn"}]}, ("'hipn'", "'hipnn'")),
    ("all skipped", {"networks": {"spline": "none"}, "skip": [{"network": "spline"}]}, ("leaves no run",)),
    ("replicas", {"networks": SPLINE_AND_NETWORK, "replicas": "many"}, ("'many'", "whole number")),
    (
        "stability",
        {"networks": SPLINE_AND_NETWORK, "stability": {"bond_tolerance": "-1 nm"}},
        ("bond_tolerance", "> 0"),
    ),
    ("no grid", {"kind": "transfer", "networks": SPLINE_AND_NETWORK}, ("no grid", "temperatures")),
    ("two densities", {**GRID, "pressures": ["1 bar"]}, ("both 'densities' and 'pressures'",)),
    (
        "pressure of no state",
        {"kind": "transfer", "pressures": ["1 bar", "9 bar"], "base": describe_base(simulation={"pressure": "1 bar"})},
        ("'simulation.pressure' is 1 bar", "'9bar' has another pressure", "Delete this line"),
    ),
    (
        "pressure without langevin",
        {"kind": "transfer", "pressures": ["1 bar"], "base": describe_base(simulation={"integrator": "brownian"})},
        ("run 'state-1bar'", "needs the integrator langevin"),
    ),
    ("unit of a state", {**GRID, "temperatures": ["300"]}, ("without a unit", "300 K")),
    ("set of no state", {**GRID, "sets": {"a": {"temperatures": ["500 K"]}}}, ("'sets.a' names 500 K",)),
    ("word of a set", {**GRID, "sets": {"a": "some"}}, ("'sets.a' is 'some'", "each, all")),
    ("key of a set", {**GRID, "sets": {"a": {"temperature": ["300 K"]}}}, ("'temperature'", "'temperatures'")),
]


@pytest.mark.parametrize(("changes", "parts"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_cannot_be_meant_is_refused(changes, parts, tmp_path):
    with pytest.raises(InputError) as caught:
        make_study(tmp_path, **changes)
    for part in parts:
        assert part in str(caught.value)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(InputError, match="no study folder"):
        read_study(tmp_path)
