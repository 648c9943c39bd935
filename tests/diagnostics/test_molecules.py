"""Checks of molecules: limits, their widening by chance, and the mirror image."""

import pytest

from beadsmith.diagnostics.dynamics import check_simulation
from example_evaluations import make_comparison, make_divergence, make_evaluation, make_molecule_comparison


def check(baseline=None, **options):
    """Return the checks of a simulation whose only molecule compares as given, by name."""
    kinds = {"ACE-ALA-NME": make_molecule_comparison(**options)}
    comparisons = {
        "network": make_comparison() | {"molecules": kinds},
        "pair_spline": make_comparison() | {"molecules": {} if baseline is None else {"ACE-ALA-NME": baseline}},
    }
    return {entry.name: entry for entry in check_simulation(make_evaluation(comparisons=comparisons))}


def test_a_good_molecule_passes_all_checks():
    found = check()
    names = [
        "reference free energy",
        "free-energy surface",
        "basin populations",
        "mirror image",
        "bonds, angles, dihedrals",
        "molecular coordinates",
    ]
    assert {name: found[name].status for name in names} == dict.fromkeys(names, "pass")


def test_a_liquid_of_one_bead_molecules_has_none_of_them():
    assert "free-energy surface" not in {entry.name for entry in check_simulation(make_evaluation())}


@pytest.mark.parametrize(("value", "status"), [(0.03, "pass"), (0.05, "warn"), (0.07, "fail")])
def test_divergence_of_a_surface_is_graded(value, status):
    assert check(surface=make_divergence(value))["free-energy surface"].status == status


def test_limits_widen_to_twice_what_chance_shows():
    found = check(surface=make_divergence(0.07, chance=0.04))["free-energy surface"]
    assert found.status == "pass"
    assert found.threshold == "<= 0.08"


@pytest.mark.parametrize(
    ("helix", "error", "status"), [(0.05, 0.01, "pass"), (-0.1, 0.01, "warn"), (0.2, 0.01, "fail"), (0.2, 0.07, "pass")]
)
def test_populations_are_graded_beyond_three_standard_errors(helix, error, status):
    assert check(helix=helix, error=error)["basin populations"].status == status


def test_a_mirror_symmetric_model_fails_and_is_scored_without_its_hand():
    surface = make_divergence(0.24, symmetrised=make_divergence(0.023))
    found = check(surface=surface, is_symmetric=True, positive=0.51)["mirror image"]
    assert found.status == "fail"
    assert found.value == 0.51
    assert "51 % against 0 %" in found.meaning
    assert "differ by 0.023 nats" in found.meaning


def test_the_worst_curve_is_named():
    found = check(curves={"angle C-N-CA": make_divergence(0.2)})["bonds, angles, dihedrals"]
    assert found.status == "fail"
    assert "The worst of 2 is angle C-N-CA." in found.meaning


def test_a_reference_that_does_not_know_itself_warns():
    assert check(surface=make_divergence(halves=0.08))["reference free energy"].status == "warn"


@pytest.mark.parametrize(("value", "status"), [(0.4, "pass"), (0.005, "warn")])
def test_the_network_should_be_closer_than_the_baseline(value, status):
    found = check(baseline=make_molecule_comparison(surface=make_divergence(value)))
    assert found["free-energy surface against pair spline"].status == status
