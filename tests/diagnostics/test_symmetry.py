"""Each check of symmetry and stability passes what is right, catches what it is for, and is silent elsewhere."""

import json

import pytest

from beadsmith.diagnostics.stability import check_stability
from beadsmith.diagnostics.symmetry import check_symmetry, describe_time
from example_evaluations import make_evaluation, make_system, measurement

KIND = "ACE-ALA-NME"


def make_centre(*, flips=0, first=None, positive=1.0, is_locked=True):
    """Return what the evaluation says about one stereocentre."""
    return {
        "n_flips": flips,
        "first_flip": {"value": first, "unit": "ps"},
        "positive": measurement(positive, 0.0),
        "is_locked": is_locked,
    }


def make_molecule(*, asymmetry=0.65, positive=0.01, centre=None, helices=None):
    """Return the measurements of one molecule that these checks read."""
    return {
        "surfaces": {"phi, psi": {"x": "phi", "y": "psi", "asymmetry": measurement(asymmetry, 0.01, "nat")}},
        "coordinates": {
            "phi": {"positive": measurement(positive, 0.005), "asymmetry": measurement(asymmetry, 0.01, "nat")}
        },
        "stereocentres": {} if centre is None else {"2:CA": centre},
        "helices": helices,
    }


def make_helices(*, helical=0.6, left=0.0, error=0.01):
    """Return the helices of one chain."""
    found = None if helical == 0.0 else measurement(left, error)
    return {"threshold": 0.5, "helical": measurement(helical, 0.02), "left_handed": found}


def make_swap(*, same=True, relative=0.0, beads=("2:CB", "2:C"), is_between=False):
    """Return the exchange of two beads."""
    kinds = ["C", "C"] if same else ["C", "N"]
    return {
        "beads": list(beads),
        "types": kinds,
        "is_same_type": same,
        "is_between": is_between,
        "relative": {"total": relative},
    }


def make_probes(*, parity=0.0, swaps=(), rise=None, barrier=None, is_crossed=True):
    """Return what the probes of a force field found."""
    path = {} if rise is None else {"2:CA": {"bead": "2:CB", "rise": measurement(rise, 5.0, "kJ/mol")}}
    profile = {"barrier": measurement(barrier, 1.0, "kJ/mol", 2), "is_crossed": is_crossed}
    return {
        "parity": {"n_frames": 32, "parts": {"total": {"relative": parity}}, "is_blind": parity < 1e-6},
        "permutation": {KIND: list(swaps)},
        "inversion_path": {KIND: path} if path else {},
        "inversion_barrier": {} if barrier is None else {KIND: {"2:CA": profile}},
    }


def judge(reference=None, simulated=None, probes=None, map_alone=None):
    """Return the checks of symmetry of a run of one kind of molecule, by name."""
    systems = {
        "reference": make_system(molecules={KIND: make_molecule() if reference is None else reference}),
        "network": make_system(
            molecules={KIND: make_molecule() if simulated is None else simulated}, length={"value": 5e4, "unit": "ps"}
        ),
    }
    checks = check_symmetry(make_evaluation(systems=systems) | {"probes": probes}, "network", map_alone)
    for check in checks:
        json.dumps(check.to_json(), allow_nan=False)
        assert check.meaning.endswith(".")
        assert check.remedy.endswith(".")
    return {check.name: check for check in checks}


# --- parity ---------------------------------------------------------------------------------------------------------


def test_a_blind_force_field_fails_where_nothing_else_keeps_the_hand():
    found = judge(probes=make_probes(parity=0.0))["parity probe"]
    assert found.status == "fail"
    assert found.threshold == ">= 1e-06"
    assert "prior.dihedrals: fourier" in found.remedy


def test_a_force_field_that_sees_mirror_images_passes():
    assert judge(probes=make_probes(parity=1e-4))["parity probe"].status == "pass"


def test_a_stereocentre_that_the_reference_keeps_excuses_a_blind_force_field():
    found = judge(make_molecule(centre=make_centre()), probes=make_probes())["parity probe"]
    assert found.status == "pass"
    assert "behind their barrier" in found.meaning
    planar = make_molecule(centre=make_centre(is_locked=False))
    assert judge(planar, probes=make_probes())["parity probe"].status == "fail"


def test_an_achiral_molecule_is_not_flagged():
    found = judge(make_molecule(asymmetry=0.008), make_molecule(asymmetry=0.009), make_probes())
    assert found["parity probe"].status == "pass"
    assert "has no hand" in found["parity probe"].meaning
    assert "Ramachandran asymmetry" not in found


# --- exchanges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("swap", "status"),
    [
        (make_swap(relative=1e-14), "warn"),
        (make_swap(relative=0.2), "pass"),
        (make_swap(same=False, relative=1e-8), "warn"),
        (make_swap(same=False, relative=1e-3), "pass"),
    ],
)
def test_exchanges_that_change_nothing_are_named(swap, status):
    found = judge(probes=make_probes(parity=1e-4, swaps=[swap]))["exchange probe"]
    assert found.status == status
    assert ("2:CB and 2:C" in found.meaning) is (status == "warn")


SOUND = {"bond overlap": "pass", "bond gap": "pass", "bond recovery": "pass", "bead labels": "pass"}


@pytest.mark.parametrize(
    ("is_between", "relative", "map_alone", "status"),
    [
        # two-site hexane without a prior, judged and not judged before
        (True, 1e-14, SOUND | {"bond overlap": "fail"}, "fail"),
        (True, 1e-14, None, "fail"),
        # a prior by index or pair classes change the energy, whatever the map alone is worth
        (True, 0.5, SOUND | {"bond overlap": "fail"}, "pass"),
        # four-site hexane: nothing knows the bonds, but distances keep them
        (True, 1e-14, SOUND, "warn"),
        (True, 1e-14, SOUND | {"bead labels": "fail"}, "warn"),
        # within a molecule the labels count
        (False, 1e-14, SOUND | {"bead labels": "fail"}, "fail"),
        (False, 1e-14, SOUND | {"bead labels": "warn"}, "warn"),
        (False, 1e-14, SOUND | {"bond overlap": "fail"}, "warn"),
        (False, 0.5, SOUND | {"bead labels": "fail"}, "pass"),
    ],
)
def test_an_exchange_that_changes_nothing_fails_where_the_map_does_not_hinder_it(
    is_between, relative, map_alone, status
):
    swap = make_swap(relative=relative, is_between=is_between)
    harmless = make_swap(same=False, relative=1e-8, beads=("1:C", "1:N"))
    found = judge(probes=make_probes(parity=1e-4, swaps=[swap]), map_alone=map_alone)["exchange probe"]
    assert found.status == status
    assert ("2:CB of two molecules" in found.meaning) is (is_between and status != "pass")
    both = judge(probes=make_probes(parity=1e-4, swaps=[harmless, swap]), map_alone=map_alone)["exchange probe"]
    assert both.status == ("fail" if status == "fail" else "warn")
    assert ("1:C and 1:N" in both.meaning) is (status == "pass"), "types that are not used are named last"


# --- hands in the simulation ----------------------------------------------------------------------------------------


def test_a_flip_fails_and_its_time_is_named():
    found = judge(
        make_molecule(centre=make_centre()), make_molecule(centre=make_centre(flips=3, first=41.5, positive=0.9))
    )["stereocentre flips"]
    assert (found.status, found.value) == ("fail", 3.0)
    assert "2:CA, the first after 41.5 ps" in found.meaning


def test_a_replica_that_was_of_the_wrong_hand_from_its_start_fails_without_a_flip():
    found = judge(make_molecule(centre=make_centre()), make_molecule(centre=make_centre(positive=0.75)))
    assert found["stereocentre flips"].status == "fail"
    assert "25 % of the frames are of the wrong hand" in found["stereocentre flips"].meaning


def test_a_centre_that_the_reference_does_not_keep_is_no_stereocentre():
    planar = make_molecule(centre=make_centre(flips=100, is_locked=False, positive=0.5))
    assert "stereocentre flips" not in judge(planar, planar)


def test_molecules_of_both_hands_that_keep_them_pass():
    mixed = make_molecule(centre=make_centre(positive=0.5))
    assert judge(mixed, make_molecule(centre=make_centre(positive=0.4)))["stereocentre flips"].status == "pass"


@pytest.mark.parametrize(("asymmetry", "status"), [(0.6, "pass"), (0.33, "pass"), (0.25, "warn"), (0.02, "fail")])
def test_the_map_must_be_as_asymmetric_as_half_of_the_reference(asymmetry, status):
    found = judge(simulated=make_molecule(asymmetry=asymmetry, positive=0.48))["Ramachandran asymmetry"]
    assert found.status == status
    assert "phi > 0 has 48 % of the frames, in the reference 1 %" in found.meaning


@pytest.mark.parametrize(
    ("left", "error", "status"), [(0.04, 0.001, "pass"), (0.1, 0.01, "warn"), (0.5, 0.01, "fail"), (0.2, 0.1, "pass")]
)
def test_left_handed_helices_are_graded_beyond_three_standard_errors(left, error, status):
    reference = make_molecule(helices=make_helices(left=0.0, error=0.001))
    found = judge(reference, make_molecule(helices=make_helices(left=left, error=error)))
    assert found["left-handed helices"].status == status


def test_helices_are_not_judged_where_there_are_none():
    straight = make_molecule(helices=make_helices(helical=0.0))
    assert "left-handed helices" not in judge(straight, straight)
    assert "left-handed helices" not in judge()


# --- barriers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rise", "status"), [(70.0, "pass"), (55.0, "warn")])
def test_the_path_must_rise_by_15_kcal_per_mol(rise, status):
    found = judge(probes=make_probes(rise=rise))["inversion path"]
    assert found.status == status
    assert found.threshold == "> 62.8"
    assert "2:CB" in found.meaning


@pytest.mark.parametrize(
    ("barrier", "is_crossed", "status"),
    [(45.0, True, "pass"), (45.0, False, "pass"), (30.0, True, "fail"), (30.0, False, "warn")],
)
def test_a_barrier_must_last_twenty_times_the_run(barrier, is_crossed, status):
    found = judge(probes=make_probes(barrier=barrier, is_crossed=is_crossed))["inversion barrier"]
    assert found.status == status
    # 9.3 kcal/mol for 50 ns at 300 K
    assert found.threshold == ">= 39"
    assert ("lower bound" in found.meaning) is not is_crossed


@pytest.mark.parametrize(
    ("time", "text"), [(0.5, "0.5 ps"), (2.07e12, "2.07 s"), (88e6, "88 µs"), (5e4, "50 ns"), (1e20, "3.17 years")]
)
def test_times_are_told_in_the_unit_that_suits_them(time, text):
    assert describe_time(time) == text


# --- bonds, contacts and heat ---------------------------------------------------------------------------------------


def make_bonds(*, switched=0.0, first=None, length=1000.0, closest=0.26, regular=0.28):
    """Return what became of bonds and contacts."""
    return {
        "n_bonds": 100,
        "length": {"value": length, "unit": "ps"},
        "switched": measurement(switched, 0.0),
        "first_switch": {"value": first, "unit": "ps"},
        "closest_contact": {"A-A": {"value": closest, "unit": "nm"}, "A-B": {"value": 0.4, "unit": "nm"}},
        "regular_contact": {"A-A": {"value": regular, "unit": "nm"}},
    }


def make_heat(value, by_chance=400.0):
    """Return the hottest frame."""
    return {
        "value": value,
        "unit": "K",
        "time": {"value": 12.0, "unit": "ps"},
        "by_chance": {"value": by_chance, "unit": "K"},
        "degrees_of_freedom": 900,
    }


def judge_stability(*, bonds=None, heat=None, **changes):
    """Return the checks of stability by name."""
    systems = {
        "reference": make_system(bond_identity=None if bonds is None else make_bonds(), hottest_frame=None),
        "network": make_system(bond_identity=bonds, hottest_frame=heat, **changes),
    }
    checks = check_stability(make_evaluation(systems=systems), "network")
    assert all(check.meaning.endswith(".") and check.remedy.endswith(".") for check in checks)
    return {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("switched", "length", "status"),
    [(0.0, 1000.0, "pass"), (5e-4, 1000.0, "warn"), (2e-3, 1000.0, "fail"), (5e-4, 100.0, "fail")],
)
def test_switched_bonds_are_graded_by_their_rate(switched, length, status):
    found = judge_stability(bonds=make_bonds(switched=switched, first=3.5, length=length))["switched bonds"]
    assert found.status == status
    assert "after 3.5 ps" in found.meaning
    assert "prior.bonds" in found.remedy


@pytest.mark.parametrize(("closest", "status"), [(0.225, "pass"), (0.22, "fail")])
def test_a_contact_below_four_fifths_of_the_regular_ones_fails(closest, status):
    found = judge_stability(bonds=make_bonds(closest=closest))["closest contact"]
    assert found.status == status
    assert found.threshold == ">= 0.224"


@pytest.mark.parametrize(
    ("value", "by_chance", "status"), [(590.0, 400.0, "pass"), (620.0, 400.0, "fail"), (900.0, 1000.0, "pass")]
)
def test_the_hottest_frame_is_judged_against_twice_the_target_or_chance(value, by_chance, status):
    found = judge_stability(heat=make_heat(value, by_chance))["hottest frame"]
    assert found.status == status
    assert "12 ps" in found.meaning


def test_what_does_not_apply_is_not_checked():
    assert judge_stability() == {}
    assert judge_stability(heat=make_heat(900.0), integrator="verlet") == {}
    systems = {name: make_system(molecules={}) for name in ("reference", "network")}
    assert check_symmetry(make_evaluation(systems=systems), "network") == []
