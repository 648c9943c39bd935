"""Independent values, visited ranges and what was seen once, of coordinates whose history is known."""

import numpy as np
import pytest

from beadsmith.analysis.coordinate_coverage import survey_coverage
from example_chains import build_chain
from example_molecules import make_backbone, make_topology

PHI, PSI = "dihedrals C-CA-N-C", "dihedrals N-C-CA-N"


def survey_torsions(phi, psi, *, segment=None):
    """Return the coverage of a backbone with the given dihedrals [degrees], by label."""
    found = survey_coverage(make_backbone(phi, psi), make_topology(), segment)
    return {entry.label: entry for entry in found}


def survey_bonds(lengths, *, segment=None):
    """Return the coverage of the bonds of dimers side by side, of lengths (n_frames, n_molecules) [nm]."""
    n_frames, n_molecules = lengths.shape
    positions = np.zeros((n_frames, n_molecules, 2, 3))
    positions[:, :, 1, 0] = lengths
    (found,) = survey_coverage(
        positions.reshape(n_frames, -1, 3), build_chain(2, n_molecules=n_molecules, type_names=("A",)), segment
    )
    return found


def test_independent_values_count_each():
    generator = np.random.default_rng(0)
    found = survey_bonds(generator.normal(0.15, 0.003, (400, 20)))
    assert (found.label, found.n_values, found.unit) == ("bonds A-A", 8000, "nm")
    # the correlation at lag 1 is known to 1/√8000
    assert found.n_effective == pytest.approx(8000, rel=0.1)
    assert found.seen_once < 1e-3


def test_values_correlated_in_time_are_worth_their_number_over_1_plus_2_tau():
    generator = np.random.default_rng(1)
    coefficient, n_frames = 0.8, 2000
    noise = generator.normal(0.0, 0.003, (n_frames, 20))
    lengths = np.empty_like(noise)
    lengths[0] = noise[0]
    for k in range(1, n_frames):
        lengths[k] = coefficient * lengths[k - 1] + np.sqrt(1.0 - coefficient**2) * noise[k]
    # (1 + c)/(1 − c) = 9; 20 series of 2000 know it to about 5 %
    assert survey_bonds(0.15 + lengths).n_effective == pytest.approx(40_000 / 9.0, rel=0.15)


def test_copies_that_never_leave_their_state_count_once_each():
    generator = np.random.default_rng(2)
    states = np.where(np.arange(20) % 2, 0.15, 0.20)
    lengths = states + generator.normal(0.0, 0.001, (500, 20))
    assert survey_bonds(lengths).n_effective == pytest.approx(20.0, rel=0.5)


def test_replicas_that_never_leave_their_state_count_once_each():
    generator = np.random.default_rng(3)
    segment = np.repeat(np.arange(4), 250)
    phi = np.array([-150.0, -60.0, 60.0, -100.0])[segment] + generator.normal(0.0, 5.0, 1000)
    found = survey_torsions(phi, generator.uniform(-180.0, 180.0, 1000), segment=segment)
    assert found[PHI].n_effective < 20.0
    assert found[PSI].n_effective > 500.0
    # the replica at 60 degrees is two of eight blocks, each other one shares no bins with any but itself
    assert found[PHI].n_values == 1000


def test_a_range_goes_round_the_circle_where_no_gap_is_wider():
    generator = np.random.default_rng(4)
    phi, psi = generator.uniform(-110.0, -60.0, 2000), generator.uniform(140.0, 220.0, 2000)
    found = survey_torsions(phi, psi)
    assert (found[PHI].lowest, found[PHI].highest) == pytest.approx((-110.0, -60.0))
    assert (found[PSI].lowest, found[PSI].highest) == pytest.approx((140.0, 220.0))
    full = survey_torsions(np.linspace(-180.0, 180.0, 2000), psi)[PHI]
    assert (full.lowest, full.highest) == (-180.0, 180.0)


def test_a_basin_that_was_visited_once_is_known_by_its_share_and_one_of_many_visits_is_not():
    generator = np.random.default_rng(5)
    phi, psi = generator.uniform(-90.0, -60.0, (2, 2000))
    once, often = phi.copy(), phi.copy()
    once[1250:1310] = generator.uniform(50.0, 60.0, 60)
    often[::30] = generator.uniform(50.0, 60.0, len(often[::30]))
    assert survey_torsions(once, psi)[PHI].seen_once == pytest.approx(0.03)
    assert survey_torsions(often, psi)[PHI].seen_once == 0.0


def test_types_count_in_either_direction_and_kinds_apart():
    topology = make_topology(names=("A", "B", "A"), residues=(0, 0, 0), residue_names=("X",))
    positions = make_backbone(np.zeros(20), np.zeros(20))[:, :3]
    found = {entry.label: entry.n_values for entry in survey_coverage(positions, topology, None)}
    assert found == {"bonds A-B": 40, "angles A-B-A": 20}


def test_the_coverage_is_json_with_units():
    found = survey_bonds(np.full((10, 2), 0.15)).to_json()
    # constrained: nothing varies, and every value is as good as the next
    assert found["n_effective"] == 20.0
    assert found["range"] == {"lowest": pytest.approx(0.15), "highest": pytest.approx(0.15), "unit": "nm"}
    assert found["seen_once"]["value"] == 0.0
