"""Verdicts on maps whose fate is known, with and without what cures them."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.internal import dihedrals
from beadsmith.diagnostics.mapping import survey as survey_module
from beadsmith.diagnostics.mapping.knowledge import ModelSettings
from beadsmith.diagnostics.mapping.run import diagnose, list_alarms
from beadsmith.diagnostics.mapping.verdict import verdict_from_json
from beadsmith.errors import InputError
from beadsmith.io.h5md import write_trajectory
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.settings import PriorSettings
from beadsmith.training.slow_coordinates import CorrectionSettings
from example_maps import describe_alanine, make_capped, make_liquid, write_map
from example_molecules import make_molecule
from example_trajectories import make_ideal_gas

BARE = PriorSettings(bonds="none", angles="none", dihedrals="none", impropers="none", repulsion="none")
HANDED = {"symmetry": "SO(3)", "l_max_hidden": 2, "n_layers": 3}
NO_PRIOR = ModelSettings(network=SchnetSettings(), prior=BARE)
HANDS, LABELS, LOST = "hand of the molecules", "bead labels", "lost stereocentres"


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Return mapped references by name."""
    folder = tmp_path_factory.mktemp("maps")
    found = {
        name: write_map(folder / f"{name}.h5", make_capped(name), describe_alanine(6 if "beta" in name else 5))
        for name in ("core", "core_beta")
    }
    # the rarest contacts are those of the ends in the helix, in three frames of ten
    whole = make_capped("core_beta_map2", n_frames=5000)
    found["core_beta_map2"] = write_map(folder / "core_beta_map2.h5", whole, describe_alanine(6))
    glycine = make_capped("core", n_frames=5000, is_glycine=True)
    found["glycine"] = write_map(folder / "glycine.h5", glycine, describe_alanine(5, is_glycine=True))
    found["two_site"] = write_map(folder / "two_site.h5", make_liquid("AA", bond=0.37))
    found["two_site_map2"] = write_map(folder / "two_site_map2.h5", make_liquid("AB", bond=0.37))
    found["four_site"] = write_map(folder / "four_site.h5", make_liquid("ABBA", bond=0.153))
    return found


def judge(path, model=NO_PRIOR, **options):
    """Return the verdicts by name and the summary."""
    found = diagnose(path, model, **options)
    return {entry["name"]: entry for entry in found["checks"]}, found["summary"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("core", "fail"),
        ("core_beta", "warn"),
        ("core_beta_map2", "pass"),
        ("glycine", "pass"),
        ("two_site", "fail"),
        ("four_site", "pass"),
    ],
)
def test_maps_have_the_verdicts_of_the_study(maps, name, expected):
    assert judge(maps[name])[1]["map_alone"] == expected


def test_without_prior_and_with_distances_alone_the_force_field_is_worth_what_its_map_is(maps):
    for name in ("core", "core_beta", "core_beta_map2", "glycine", "two_site"):
        checks, summary = judge(maps[name], ModelSettings(prior=PriorSettings(bonds="none", dihedrals="none")))
        assert summary["with_model"] == summary["map_alone"]
        assert all(entry["status"] == entry["map_alone"] for entry in checks.values())


def test_alanine_core_fails_by_its_hand_alone_and_names_the_stereocentre_it_lost(maps):
    checks, _ = judge(maps["core"])
    assert [name for name, entry in checks.items() if entry["map_alone"] == "fail"] == [HANDS]
    assert checks[HANDS]["value"] == pytest.approx(np.log(2.0), abs=1e-3)
    assert checks[LOST]["status"] == "warn"
    assert "2:ALA:CA" in checks[LOST]["meaning"]
    assert checks[LABELS]["value"] == 12.0


def test_a_bead_of_the_side_chain_locks_the_hand(maps):
    checks, _ = judge(maps["core_beta_map2"])
    assert checks[HANDS]["status"] == "pass"
    assert checks[HANDS]["value"] == pytest.approx(np.log(2.0), abs=1e-3)
    assert "2:CA" in checks[HANDS]["meaning"]
    assert checks["inversion"]["value"] > 5.0
    assert "prior.impropers: harmonic" in checks["inversion"]["remedy"]
    assert checks[LOST]["value"] == 0.0


def test_beta_carbon_of_the_type_of_the_carbonyl_carbon_warns_and_graph_types_are_proposed(maps):
    checks, _ = judge(maps["core_beta"])
    entry = checks[LABELS]
    assert (entry["status"], entry["value"]) == ("warn", 48.0)
    assert "2:ALA:CB and 2:ALA:C" in entry["meaning"]
    assert "mapping.types: graph with mapping.graph_depth: 1 (6 types here)" in entry["remedy"]
    assert "6 labels would remove all" in entry["meaning"]


def test_glycine_has_no_hand_and_nothing_lost_though_its_beads_are_those_of_alanine(maps):
    checks, _ = judge(maps["glycine"])
    assert checks[HANDS]["status"] == checks[LOST]["status"] == "pass"
    assert checks[LOST]["value"] == 0.0
    assert "inversion" not in checks
    # twelve copies, none of them near
    assert (checks[LABELS]["value"], checks[LABELS]["status"]) == (12.0, "pass")


@pytest.mark.parametrize(
    ("model", "correction", "status", "cure"),
    [
        (ModelSettings(network=MaceSettings(**HANDED), prior=BARE), None, "pass", "SO(3)"),
        (ModelSettings(network=MaceSettings(symmetry="SO(3)"), prior=BARE), None, "warn", "SO(3)"),
        (ModelSettings(network=MaceSettings(), prior=BARE), None, "fail", None),
        (ModelSettings(network=SchnetSettings()), None, "warn", "prior.dihedrals: fourier"),
        (ModelSettings(prior=replace(BARE, dihedrals="cosine", impropers="harmonic")), None, "fail", None),
        (NO_PRIOR, CorrectionSettings(), "pass", "training.correction in phi, psi"),
        (NO_PRIOR, CorrectionSettings(coordinates=("phi",)), "fail", None),
    ],
)
def test_hands_are_known_by_rotations_alone_by_sine_terms_or_by_a_correction(maps, model, correction, status, cure):
    checks, _ = judge(maps["core"], model, correction=correction)
    assert checks[HANDS]["status"] == status
    assert checks[HANDS]["map_alone"] == "fail"
    assert checks[HANDS]["cures"] == [] if cure is None else cure in checks[HANDS]["cures"][0]
    assert ("whether it learns to, a simulation shows" in checks[HANDS]["meaning"]) == (cure == "SO(3)")


def test_what_sees_the_hand_is_no_remedy_any_more_and_eases_or_cures_lost_stereocentres(maps):
    fourier = "prior.dihedrals: fourier"
    rotations = "network: {kind: mace, symmetry: SO(3), l_max_hidden: 2, n_layers: 3}"
    for model, correction, status, cures in (
        (NO_PRIOR, None, "warn", []),
        (ModelSettings(network=SchnetSettings()), None, "warn", [fourier]),
        (ModelSettings(network=MaceSettings(**HANDED)), None, "pass", [rotations]),
        (
            ModelSettings(network=MaceSettings(symmetry="SO(3)"), prior=BARE),
            None,
            "warn",
            ["network.symmetry: SO(3)"],
        ),
        (NO_PRIOR, CorrectionSettings(), "pass", ["training.correction in phi, psi"]),
    ):
        checks, _ = judge(maps["core"], model, correction=correction)
        assert (checks[LOST]["map_alone"], checks[LOST]["status"], checks[LOST]["cures"]) == ("warn", status, cures)
        for name in (HANDS, LOST):
            assert (fourier in checks[name]["remedy"]) == (model.prior.dihedrals != "fourier")
            assert (rotations in checks[name]["remedy"]) == (rotations not in cures)


@pytest.mark.parametrize(
    ("has_improper", "model", "status", "cures"),
    [
        (False, NO_PRIOR, "warn", []),
        (False, ModelSettings(network=SchnetSettings()), "warn", []),
        (True, ModelSettings(network=SchnetSettings()), "pass", ["prior.impropers: harmonic"]),
        (True, NO_PRIOR, "warn", []),
        (True, ModelSettings(network=SchnetSettings(), prior=replace(BARE, impropers="fourier")), "warn", []),
        (
            False,
            ModelSettings(network=MaceSettings(**HANDED), prior=BARE),
            "warn",
            ["network.symmetry: SO(3)"],
        ),
    ],
)
def test_a_centre_that_inverts_is_held_by_a_harmonic_improper_of_its_own(tmp_path, has_improper, model, status, cures):
    trajectory = make_capped("core_beta_map2")
    trajectory.positions[500:510] *= np.array([1.0, 1.0, -1.0], dtype=np.float32)
    if has_improper:
        topology = replace(trajectory.topology, impropers=np.array([[1, 2, 3, 4]]))
        trajectory = replace(trajectory, topology=topology)
    checks, _ = judge(write_map(tmp_path / "m.h5", trajectory, describe_alanine(6)), model)
    found = checks["inversion"]
    assert (found["map_alone"], found["status"], found["cures"]) == ("warn", status, cures)
    assert ("mapping.definitions" in found["remedy"]) is not has_improper
    assert ("SO(3)" in found["remedy"]) is not bool(cures and "SO(3)" in cures[0])
    assert ("set prior.impropers: harmonic" in found["remedy"].replace("Set", "set")) is (
        model.prior.impropers != "harmonic"
    )


def test_two_site_hexane_fails_all_checks_of_bonds_and_other_labels_are_no_cure(maps):
    for name in ("two_site", "two_site_map2"):
        checks, _ = judge(maps[name])
        assert checks["bond overlap"]["value"] > 0.01
        assert {checks[check]["status"] for check in ("bond overlap", "bond gap", "bond recovery")} == {"fail"}
        assert "other molecule" in checks["bond overlap"]["meaning"]
        # both ends of hexane are the same: nothing to tell apart
        assert checks[LABELS]["status"] == "pass"


def test_four_site_hexane_passes_all_checks_of_bonds(maps):
    checks, _ = judge(maps["four_site"])
    assert checks["bond overlap"]["value"] < 1e-3
    assert checks["bond gap"]["value"] > 5.0
    assert checks["bond recovery"]["value"] == 1.0


@pytest.mark.parametrize(
    ("model", "cure"),
    [
        (ModelSettings(network=SchnetSettings()), "prior.bonds: harmonic"),
        (ModelSettings(network=SchnetSettings(pair_classes=True), prior=BARE), "network.pair_classes: true"),
        (ModelSettings(network=SchnetSettings(exclusions=1)), "prior.bonds: harmonic, network.exclusions: 1"),
        (ModelSettings(network=None), "prior.bonds: harmonic"),
    ],
)
def test_bonds_between_given_beads_and_pair_classes_cure_what_the_map_lacks(maps, model, cure):
    checks, _ = judge(maps["two_site"], model)
    for name in ("bond overlap", "bond gap", "bond recovery"):
        assert (checks[name]["map_alone"], checks[name]["status"]) == ("fail", "pass")
        assert ", ".join(checks[name]["cures"]) == cure
    labels = judge(maps["core_beta"], model)[0][LABELS]
    assert (labels["map_alone"], labels["status"], ", ".join(labels["cures"])) == ("warn", "pass", cure)


@pytest.mark.parametrize("pair_classes", [False, True])
def test_a_network_that_leaves_bonds_to_a_prior_without_any_cures_nothing(maps, pair_classes):
    model = ModelSettings(network=SchnetSettings(exclusions=1, pair_classes=pair_classes), prior=BARE)
    checks, _ = judge(maps["two_site"], model)
    for name in ("bond overlap", "bond gap", "bond recovery"):
        assert (checks[name]["status"], checks[name]["cures"]) == ("fail", [])


def test_known_bonds_do_not_tell_the_two_ends_of_a_chain_of_one_type_apart(tmp_path):
    # C N CA C N of one type reads the same backwards, though the molecule does not
    trajectory = make_capped("core")
    topology = trajectory.topology
    single = make_molecule(
        trajectory.positions,
        topology.__class__(**{**topology.__dict__, "types": np.zeros(5, dtype=int), "type_names": ("C",)}),
        forces=trajectory.forces,
    )
    path = write_map(tmp_path / "single.h5", single, describe_alanine(5))
    checks, _ = judge(path, ModelSettings(network=SchnetSettings()))
    assert checks[LABELS]["value"] == 120.0
    assert (checks[LABELS]["map_alone"], checks[LABELS]["status"]) == ("warn", "warn")


def test_data_that_hold_both_arrangements_fail(tmp_path):
    # CB and C of one type at equal distances, with nothing behind C: its nitrogen is left out
    trajectory = make_capped("core_beta", n_frames=800)
    generator = np.random.default_rng(0)
    positions, forces = trajectory.positions[:, [1, 2, 3, 4]], trajectory.forces[:, [1, 2, 3, 4]]
    swapped = generator.random(800) < 0.5
    positions[swapped] = positions[swapped][:, [0, 1, 3, 2]]
    topology = trajectory.topology
    kept = {
        "names": ("N", "CA", "CB", "C"),
        "types": topology.types[1:5],
        "masses": topology.masses[1:5],
        "molecule_index": np.zeros(4, dtype=int),
        "residue_index": np.zeros(4, dtype=int),
        "residue_names": ("ALA",),
        "bonds": np.array([(0, 1), (1, 2), (1, 3)]),
        "angles": np.zeros((0, 3), dtype=int),
        "dihedrals": np.zeros((0, 4), dtype=int),
    }
    mapping = {
        "name": "ALA",
        "bead_names": list(kept["names"]),
        "atoms": {**describe_alanine(6)["atoms"], "members": [[6], [8], [10], [14]]},
    }
    path = write_map(
        tmp_path / "m.h5",
        make_molecule(positions, topology.__class__(**{**topology.__dict__, **kept}), forces=forces),
        mapping,
    )
    checks, _ = judge(path)
    assert checks[LABELS]["map_alone"] == "fail"


def test_a_hand_that_chance_could_make_is_a_warning_to_sample_longer(tmp_path):
    path = write_map(tmp_path / "few.h5", make_capped("core", n_frames=25, is_glycine=True))
    checks, _ = judge(path)
    assert checks[HANDS]["status"] == "warn"
    assert "Sample longer" in checks[HANDS]["remedy"]
    # the file does not say which atoms there are
    assert LOST not in checks


def test_too_short_a_run_of_molecules_without_stereocentres_is_no_failure(tmp_path):
    # all frames of glycine are of one hand: it would have to turn over first
    trajectory = make_capped("core", n_frames=500)
    checks, _ = judge(write_map(tmp_path / "gly.h5", trajectory, describe_alanine(5)))
    assert checks[HANDS]["status"] == "fail"
    topology = replace(trajectory.topology, residue_names=("ACE", "GLY", "NME"))
    glycine = replace(trajectory, topology=topology)
    checks, _ = judge(write_map(tmp_path / "gly.h5", glycine, describe_alanine(5, is_glycine=True)))
    assert checks[HANDS]["status"] == "warn"
    assert "Sample longer" in checks[HANDS]["remedy"]


def test_few_samples_close_beads_and_missing_repulsion_are_reported(tmp_path):
    trajectory = make_capped("core", n_frames=40)
    trajectory.positions[3, 4] = trajectory.positions[3, 0] + 0.02
    checks, _ = judge(write_map(tmp_path / "few.h5", trajectory, describe_alanine(5)))
    assert checks["bonded coverage"]["status"] == "fail"
    assert 10.0 < checks["bonded coverage"]["value"] <= 40.0
    assert "40 values from " in checks["bonded coverage"]["meaning"]
    assert checks["bonded range"]["status"] == "warn"
    assert (checks["bead distance"]["status"], checks["label noise"]["status"]) == ("warn", "warn")
    assert checks["bead distance"]["value"] == pytest.approx(0.02 * np.sqrt(3.0), abs=1e-4)
    short = checks["short-range coverage"]
    assert (short["status"], short["map_alone"]) == ("warn", "warn")
    assert "no repulsion" in short["meaning"]
    assert "Pairs C-N of one molecule" in short["meaning"]


def test_a_torsion_that_hardly_turned_is_no_thousand_values_though_there_are_frames_enough(tmp_path):
    # 2000 frames, and one change of psi between its two basins
    trajectory = make_capped("core", n_frames=2000)
    order = np.argsort(dihedrals(trajectory.positions, np.array([[1, 2, 3, 4]]))[:, 0] > 60.0, kind="stable")
    checks, _ = judge(write_map(tmp_path / "m.h5", trajectory.select(order), describe_alanine(5)))
    found = checks["bonded coverage"]
    assert (found["status"], found["map_alone"]) == ("warn", "warn")
    assert found["value"] < 20.0
    assert "dihedrals N-C-C-N, 2000 values from" in found["meaning"]
    assert checks["bonded range"]["status"] == "pass", "each basin was visited for long"


def test_liquids_of_single_beads_have_no_checks_of_bonds_labels_or_hands(tmp_path):
    generator = np.random.default_rng(0)
    forces = generator.normal(0.0, 100.0, (30, 50, 3)).astype(np.float32)
    write_trajectory(tmp_path / "gas.h5", make_ideal_gas(generator, n_frames=30, n_beads=50, forces=forces))
    checks, _ = judge(tmp_path / "gas.h5")
    assert set(checks) == {"bead distance", "label noise", "short-range coverage"}


def test_the_diagnosis_is_json_with_pictures_and_can_be_read_back(maps, tmp_path):
    for name in ("two_site", "core_beta"):
        found = diagnose(maps[name], NO_PRIOR, output=tmp_path / "diagnosis.json")
        read = json.loads((tmp_path / "diagnosis.json").read_text())
        assert read["summary"] == found["summary"]
        assert [verdict_from_json(entry).to_json() for entry in read["checks"]] == read["checks"]
        kind = read["bonds"]["kinds"][0]
        widths = np.diff(kind["edges"])
        assert len(kind["density"]) == len(widths) == len(kind["others"][0]["density"])
        assert np.sum(widths * kind["density"]) == pytest.approx(1.0)
        (molecule,) = read["molecules"]
        assert len(molecule["layout"]["values"]) == len(molecule["beads"]) == len(molecule["noise"])


def test_alarms_say_what_failed_and_name_the_cure(maps):
    checks = diagnose(maps["two_site"], NO_PRIOR)["checks"]
    alarms = list_alarms([verdict_from_json(entry) for entry in checks])
    assert len(alarms) == 3
    assert all("prior.bonds: harmonic" in alarm for alarm in alarms)
    cured = diagnose(maps["two_site"], ModelSettings())["checks"]
    assert list_alarms([verdict_from_json(entry) for entry in cured]) == []


def test_of_a_long_reference_frames_at_even_distances_are_taken(maps, monkeypatch):
    monkeypatch.setattr(survey_module, "MOST_SITES", 3000)
    found = diagnose(maps["core"], NO_PRIOR)
    # 2000 frames of five beads: every fourth
    assert (found["n_frames"], found["n_used"]) == (2000, 500)
    assert found["summary"]["map_alone"] == "fail"
    # the file has the samples, whether or not they are looked at
    assert found["samples"]["bonds C-N"] == 3 * 2000


def test_a_trajectory_without_forces_or_frames_is_refused(tmp_path):
    trajectory = make_capped("core", n_frames=5)
    write_trajectory(tmp_path / "bare.h5", make_molecule(trajectory.positions, trajectory.topology))
    with pytest.raises(InputError, match=r"no forces.*'beadsmith map' wrote"):
        diagnose(tmp_path / "bare.h5", NO_PRIOR)
    write_trajectory(tmp_path / "empty.h5", trajectory.select(slice(0, 0)))
    with pytest.raises(InputError, match="empty"):
        diagnose(tmp_path / "empty.h5", NO_PRIOR)
    with pytest.raises(InputError, match=r"missing\.h5"):
        diagnose(tmp_path / "missing.h5", NO_PRIOR)


@pytest.mark.slow
def test_ten_thousand_frames_of_a_liquid_are_judged_within_half_a_minute(tmp_path):
    path = write_map(tmp_path / "long.h5", make_liquid("AA", bond=0.37, n_molecules=100, n_frames=10_000))
    # processor time, so that a busy machine does not count; 5 s were measured
    began = time.process_time()
    found = diagnose(path, NO_PRIOR)
    assert time.process_time() - began < 30.0
    assert found["n_used"] == 10_000
    assert found["summary"]["map_alone"] == "fail"
