"""The benchmark of mapping measures what it says."""

from benchmarks.mapping import CASES, Case, measure

from beadsmith.mapping.apply import find_templates


def test_a_short_case_is_measured():
    found = measure(Case(n_atoms=6, atoms_per_bead=2, n_chains=2, n_frames=30))
    assert found["file GB"] == 30 * 12 * 24 / 1e9
    assert all(value > 0.0 for value in found.values())


def test_cases_have_the_beads_of_their_names():
    found = {name: find_templates(case.build_topology(), case.choose_beads()) for name, case in CASES.items()}
    for name, (template,) in found.items():
        assert f"{template.n_beads} beads" in name
