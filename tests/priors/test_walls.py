"""Where the repulsion joins the mean force: tangency, statistics, fallbacks, and the published rule's numbers."""

import numpy as np
import pytest

from beadsmith.errors import InputError, PhysicsError
from beadsmith.priors.linear_fit import LinearSolution
from beadsmith.priors.pair_terms import compute_pair_curve, name_type_pairs
from beadsmith.priors.splines import PairSpline
from beadsmith.priors.survey import BIN_WIDTH, PairSurvey
from beadsmith.priors.walls import STEEPNESS_RANGE, build_repulsion, fit_published_walls, fit_tangent_walls
from beadsmith.units import thermal_energy

CLOSEST, CUTOFF, TEMPERATURE = 0.28, 0.9, 300.0
TOLERANCES = {"force_tolerance": 0.03, "decay_tolerance": 0.05}


def mean_potential(r):
    """A pair potential of mean force like liquid methanol's: 46 kJ/mol/Å at 0.30 nm, falling fast, with two wells."""
    core = 9.0 * np.exp(-50.0 * (r - 0.30)) - 3.0 * np.exp(-(((r - 0.36) / 0.05) ** 2))
    return core + 1.5 * np.cos(14.0 * (r - 0.45)) * (1.0 - np.minimum(r, CUTOFF) / CUTOFF) ** 3


def make_survey(type_names=("A",), closest=None, n_pairs=1e5):
    """Return a survey whose density rises from the smallest distance to a peak at 0.34 nm."""
    names = name_type_pairs(type_names)
    closest = np.full(len(names), CLOSEST) if closest is None else np.array(closest)
    edges = BIN_WIDTH * np.arange(round(CUTOFF / BIN_WIDTH) + 1)
    centres = 0.5 * (edges[1:] + edges[:-1])
    ideal = np.diff(edges**3) * n_pairs / CUTOFF**3
    rdf = np.exp(-np.minimum(mean_potential(centres), 100.0) / thermal_energy(TEMPERATURE))
    counts = np.stack([np.where(edges[1:] > r, ideal * rdf, 0.0) for r in closest])
    return PairSurvey(
        type_names=type_names,
        edges=edges,
        counts=counts,
        ideal_counts=np.repeat(ideal[None], len(names), axis=0),
        closest=closest,
        mean_absolute_force=1500.0,
        temperature=TEMPERATURE,
    )


def make_fit(type_names=("A",), *, error_at_edge=0.02, seed=0):
    """Return a spline through the mean potential, with replicates whose scatter falls from the edge outwards."""
    n_pairs = len(name_type_pairs(type_names))
    spline = PairSpline(
        type_names, inner_distances=(CLOSEST,) * n_pairs, cutoff=CUTOFF, n_intervals=36, inner_end="free"
    )
    r = np.linspace(CLOSEST, CUTOFF, 400)
    n_free = spline.coefficients.shape[1]
    one, *_ = np.linalg.lstsq(spline.evaluate_basis(r, 0, 0)[:, :n_free], mean_potential(r), rcond=None)
    coefficients = np.tile(one, n_pairs)
    knots = np.arange(n_free) * (CUTOFF - CLOSEST) / 36
    scatter = np.tile(error_at_edge * np.exp(-knots / 0.008), n_pairs)
    replicates = coefficients + scatter * np.random.default_rng(seed).normal(size=(10, len(coefficients)))
    solution = LinearSolution(
        coefficients=coefficients,
        replicates=replicates,
        loss=1.0,
        held_out_loss=1.0,
        zero_loss=1.0,
        n_unvisited=0,
        rank=len(coefficients),
        ridge=0.0,
    )
    return spline.with_coefficients(coefficients), solution


def test_force_and_slope_of_wall_and_mean_force_are_equal_where_they_join():
    spline, solution = make_fit()
    walls = fit_tangent_walls(spline, solution, make_survey(), **TOLERANCES)
    assert walls[0].origin == "tangent"
    assert not walls[0].is_bounded
    joining = np.array([walls[0].joining_distance])
    wall = compute_pair_curve(build_repulsion(("A",), walls, largest_cutoff=CUTOFF), joining, 0)
    mean = compute_pair_curve(spline, joining, 0)
    assert wall.force[0] == pytest.approx(mean.force[0], rel=1e-9)
    assert wall.slope[0] == pytest.approx(mean.slope[0], rel=1e-9)


def test_wall_keeps_beads_out_of_all_distances_below_the_data():
    spline, solution = make_fit()
    repulsion = build_repulsion(
        ("A",), fit_tangent_walls(spline, solution, make_survey(), **TOLERANCES), largest_cutoff=CUTOFF
    )
    curve = compute_pair_curve(repulsion, np.linspace(0.0, CLOSEST, 200), 0)
    assert np.all(np.diff(curve.force) < 0.0)
    assert curve.force[-1] > 10.0 * thermal_energy(TEMPERATURE) / 0.1
    # entering 0.1 nm deeper than the closest pair costs more than any thermal fluctuation
    assert compute_pair_curve(repulsion, np.array([CLOSEST - 0.1]), 0).energy[0] > 100.0 * thermal_energy(TEMPERATURE)


def test_noisier_mean_force_joins_farther_out():
    joining = []
    for error in (0.02, 1.0, 4.0):
        spline, solution = make_fit(error_at_edge=error)
        joining.append(fit_tangent_walls(spline, solution, make_survey(), **TOLERANCES)[0].joining_distance)
    assert CLOSEST <= joining[0] <= joining[1] < joining[2] < 0.34


def test_wall_never_joins_beyond_the_first_shell():
    # so noisy inside that only the repulsive flank between the two shells is determined
    spline, solution = make_fit(error_at_edge=200.0)
    wall = fit_tangent_walls(spline, solution, make_survey(), **TOLERANCES)[0]
    assert wall.origin == "edge"
    assert wall.joining_distance == CLOSEST


def test_wall_at_the_edge_costs_what_the_absence_of_closer_pairs_says():
    spline, solution = make_fit(error_at_edge=200.0)
    survey = make_survey()
    wall = fit_tangent_walls(spline, solution, survey, **TOLERANCES)[0]
    expected = survey.ideal_counts[0, int(CLOSEST / BIN_WIDTH)]
    energy = wall.joining_force / wall.decay
    assert energy == pytest.approx(thermal_energy(TEMPERATURE) * np.log(expected), rel=1e-9)


def test_pair_never_seen_gets_the_sum_of_radii():
    names = ("A", "B")
    spline, solution = make_fit(names)
    # A-A and A-B known, B-B never seen
    survey = make_survey(names, closest=(CLOSEST, CLOSEST, np.inf))
    known_aa, known_ab, combined = fit_tangent_walls(spline, solution, survey, **TOLERANCES)
    assert combined.origin == "combined"
    assert combined.joining_distance == pytest.approx(2 * known_ab.joining_distance - known_aa.joining_distance)
    low, high = sorted((known_aa.joining_force, known_ab.joining_force))
    assert low * (1 - 1e-9) <= combined.joining_force <= high * (1 + 1e-9)


def test_pair_whose_radii_are_unknown_gets_the_largest_wall():
    names = ("A", "B")
    spline, solution = make_fit(names)
    walls = fit_tangent_walls(spline, solution, make_survey(names, closest=(CLOSEST, np.inf, np.inf)), **TOLERANCES)
    assert [wall.joining_distance for wall in walls[1:]] == [walls[0].joining_distance] * 2


def test_decay_stays_within_the_stated_range():
    spline, solution = make_fit()
    knots = CLOSEST + np.arange(36) * (CUTOFF - CLOSEST) / 36
    line = 1000.0 * (CUTOFF - knots) + 100.0 * (CUTOFF - knots) ** 2
    soft = LinearSolution(**{**solution.__dict__, "coefficients": line, "replicates": np.tile(line, (10, 1))})
    wall = fit_tangent_walls(spline, soft, make_survey(), **TOLERANCES)[0]
    assert wall.is_bounded
    assert wall.decay * wall.joining_distance == pytest.approx(STEEPNESS_RANGE[0])


def test_published_rule_has_its_published_numbers():
    survey = make_survey()
    (wall,) = fit_published_walls(survey)
    size, t = survey.mean_absolute_force, wall.joining_distance
    # 19.97 per Å, |F(t)| = 0.05 s and |F(t - 0.15 Å)| = s for one pair counted once
    assert wall.decay / 10.0 == pytest.approx(19.97, abs=0.005)
    curve = compute_pair_curve(build_repulsion(("A",), (wall,), largest_cutoff=CUTOFF), np.array([t, t - 0.015]), 0)
    np.testing.assert_allclose(curve.force, [0.05 * size, size], rtol=1e-9)


def test_published_rule_starts_at_the_first_bin_with_an_rdf_above_one_hundredth():
    survey = make_survey()
    (wall,) = fit_published_walls(survey)
    rdf = survey.counts[0] / survey.ideal_counts[0]
    first = int(wall.joining_distance / BIN_WIDTH)
    assert rdf[first] > 0.01
    assert np.all(rdf[:first] <= 0.01)


def test_published_rule_refuses_a_pair_that_was_never_seen():
    with pytest.raises(InputError, match="B-B"):
        fit_published_walls(make_survey(("A", "B"), closest=(CLOSEST, CLOSEST, np.inf)))


def test_repulsion_ends_where_every_wall_is_negligible():
    spline, solution = make_fit()
    walls = fit_tangent_walls(spline, solution, make_survey(), **TOLERANCES)
    repulsion = build_repulsion(("A",), walls, largest_cutoff=CUTOFF)
    assert repulsion.cutoff < CUTOFF
    force = compute_pair_curve(repulsion, np.array([0.9 * repulsion.cutoff]), 0).force[0]
    assert force == pytest.approx(1e-4 * walls[0].joining_force, rel=1e-6)


def test_wall_that_would_reach_into_its_switch_is_refused():
    spline, solution = make_fit()
    walls = fit_tangent_walls(spline, solution, make_survey(), **TOLERANCES)
    with pytest.raises(PhysicsError, match="A-A"):
        build_repulsion(("A",), walls, largest_cutoff=0.3)
