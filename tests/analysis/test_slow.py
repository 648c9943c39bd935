"""TICA, Markov state models and reweighting on two-state chains whose timescale and populations are known."""

import numpy as np
import pytest

from beadsmith.analysis.blocks import count_samples, divide_frames, measure_average
from beadsmith.analysis.coordinates import find_bonded_coordinates
from beadsmith.analysis.definitions import SlowModeSettings
from beadsmith.analysis.slow import choose_features, find_lag, fit_markov_model, fit_slow_modes, stationary_weights
from beadsmith.errors import InputError
from beadsmith.topology import group_equal_molecules
from example_molecules import make_backbone, make_topology, make_two_states

LEAVE = (0.02, 0.03)
TIMESCALE = -1.0 / np.log(1.0 - sum(LEAVE))


def make_features(generator, states, noise=0.05):
    """Return features of flat states: one that follows the state, one fast and wide, one mix of both."""
    slow = 2.0 * states - 1.0 + generator.normal(0.0, noise, len(states))
    fast = generator.normal(0.0, 3.0, len(states))
    return np.stack([fast, slow, slow + 0.1 * fast], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def chain():
    generator = np.random.default_rng(0)
    states = make_two_states(generator, n_frames=2000, leave=LEAVE, starts=np.arange(20) % 2)
    features = make_features(generator, states.ravel())
    frames = divide_frames(states.size, n_blocks=20, segment=np.repeat(np.arange(20), 2000))
    return states.ravel(), features, frames


@pytest.mark.parametrize("lag", [1, 5, 20])
def test_tica_finds_the_timescale_of_a_two_state_chain(chain, lag):
    _, features, frames = chain
    modes = fit_slow_modes(features, frames, lag=lag, spacing=0.5, n_components=2)
    slowest = modes.timescales[0]
    # the noise on the feature makes the eigenvalue smaller by 1.0026, which at lag 1 is 5 % of the timescale
    variance = 4.0 * LEAVE[0] * LEAVE[1] / sum(LEAVE) ** 2
    eigenvalue = (1.0 - sum(LEAVE)) ** lag * variance / (variance + 0.05**2)
    expected = -0.5 * lag / np.log(eigenvalue)
    assert slowest.value == pytest.approx(expected, abs=3.0 * slowest.standard_error)
    assert slowest.standard_error < 0.1 * expected


def test_components_are_whitened_and_follow_the_slow_feature(chain):
    states, features, frames = chain
    modes = fit_slow_modes(features, frames, lag=5, spacing=1.0, n_components=2)
    projected = modes.project(features)
    # pairs near the ends of pieces count once instead of twice: 20 x 5 of 40,000 frames
    np.testing.assert_allclose(projected.mean(axis=0), 0.0, atol=0.01)
    np.testing.assert_allclose(projected.var(axis=0), 1.0, atol=0.02)
    assert np.corrcoef(projected[:, 0], states)[0, 1] > 0.99
    # three features, one of them a sum of the others: two components
    assert len(modes.eigenvalues) == 2
    assert len(fit_slow_modes(features, frames, lag=5, spacing=1.0, n_components=3).eigenvalues) == 2


def test_lags_never_cross_a_segment():
    # every run stays in its state for ever: pairs across runs would show transitions
    states = np.tile(np.repeat([0, 1], 10), 50)
    segment = np.repeat(np.arange(100), 10)
    frames = divide_frames(1000, n_blocks=10, segment=segment)
    features = make_features(np.random.default_rng(1), states, noise=1e-3)
    modes = fit_slow_modes(features, frames, lag=3, spacing=1.0, n_components=1)
    assert modes.eigenvalues[0] == pytest.approx(1.0, abs=1e-4)


def test_markov_model_finds_timescale_and_populations(chain):
    states, features, frames = chain
    projected = fit_slow_modes(features, frames, lag=5, spacing=1.0, n_components=1).project(features)
    model = fit_markov_model(projected, frames, lag=5, spacing=1.0, n_states=2)
    for lag in (5.0, 10.0, 20.0):
        slowest = model.timescales[lag][0]
        assert slowest.value == pytest.approx(TIMESCALE, abs=3.0 * slowest.standard_error)
        assert slowest.standard_error < 0.1 * TIMESCALE
    assert model.connected_fraction == 1.0
    population = measure_average(states[:, None], frames.reweighted(model.state_weights), unit="1")
    assert population.value == pytest.approx(0.4, abs=3.0 * population.standard_error)


def test_few_states_are_not_spent_on_fast_components():
    generator = np.random.default_rng(4)
    states = make_two_states(generator, n_frames=500, leave=LEAVE, starts=np.arange(10) % 2).ravel()
    frames = divide_frames(len(states), n_blocks=10, segment=np.repeat(np.arange(10), 500))
    features = make_features(generator, states)
    modes = fit_slow_modes(features, frames, lag=5, spacing=1.0, n_components=2)
    model = fit_markov_model(modes.map_kinetically(features), frames, lag=5, spacing=1.0, n_states=2)
    found = model.state_weights.states
    assert max(np.mean(found == states), np.mean(found != states)) == 1.0


def make_adaptive(generator, n_runs=400):
    """Return short runs started equally in both states of a chain with populations 0.8 and 0.2."""
    leave = (0.005, 0.02)
    states = make_two_states(generator, n_frames=20, leave=leave, starts=np.arange(n_runs) % 2).ravel()
    frames = divide_frames(len(states), n_blocks=20, segment=np.repeat(np.arange(n_runs), 20))
    model = fit_markov_model(make_features(generator, states, 0.02)[:, [1]], frames, lag=2, spacing=1.0, n_states=2)
    return states, frames, model


def test_reweighting_undoes_adaptive_sampling():
    states, frames, model = make_adaptive(np.random.default_rng(2))
    plain = count_samples(states[:, None], (2,), frames)
    counts = count_samples(states[:, None], (2,), frames.reweighted(model.state_weights))
    error = counts.standard_error[0]
    # unweighted, the runs remember that they were started half and half
    assert plain.probability[0] < 0.6
    assert counts.probability[0] == pytest.approx(0.8, abs=3.0 * error)
    assert 0.005 < error < 0.04


def test_error_of_a_reweighted_population_is_the_scatter_of_repeated_data():
    generator = np.random.default_rng(3)
    values, errors = [], []
    for _ in range(40):
        states, frames, model = make_adaptive(generator, n_runs=200)
        counts = count_samples(states[:, None], (2,), frames.reweighted(model.state_weights))
        values.append(counts.probability[0])
        errors.append(counts.standard_error[0])
    # 40 repeats know their spread to 11 %; three of these
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.34)


def test_states_that_are_not_connected_weigh_nothing():
    transitions = np.array([[50.0, 5.0, 0.0], [5.0, 30.0, 0.0], [0.0, 0.0, 20.0]])
    weights = stationary_weights(transitions, np.array([60.0, 40.0, 20.0]))
    assert weights[2] == 0.0
    # symmetric counts: π is proportional to the row sums
    assert weights[0] * 60.0 / (weights[1] * 40.0) == pytest.approx(55.0 / 35.0)
    assert weights @ np.array([60.0, 40.0, 20.0]) == pytest.approx(120.0)


def test_features_are_circular_dihedrals_and_distant_pairs():
    topology = make_topology()
    (kind,) = group_equal_molecules(topology)
    dihedrals = find_bonded_coordinates(topology, kind)
    # +179 and -179 degrees are the same place
    positions = make_backbone([179.9, -179.9], [60.0, 60.0])
    for features, width in (("all", 3 + 4), ("dihedrals", 4), ("distances", 3)):
        compute = choose_features(dihedrals, topology, kind, SlowModeSettings(features=features))
        found = compute(positions)
        assert found.shape == (2, width)
        np.testing.assert_allclose(found[0], found[1], atol=5e-3)


def test_lag_is_counted_in_frames_and_must_fit():
    times, segment = np.tile(0.5 * np.arange(100), 2), np.repeat([0, 1], 100)
    assert find_lag(times, segment, 5.0) == (10, 0.5)
    assert find_lag(times, segment, 0.1) == (1, 0.5)
    with pytest.raises(InputError, match="no run of the reference is longer"):
        find_lag(times, segment, 80.0)
    with pytest.raises(InputError, match="not equally spaced"):
        find_lag(np.array([0.0, 1.0, 3.0]), None, 1.0)


def test_what_has_no_slow_components_is_refused():
    frames = divide_frames(10, n_blocks=2)
    with pytest.raises(InputError, match="no feature of the reference varies"):
        fit_slow_modes(np.ones((10, 2)), frames, lag=1, spacing=1.0, n_components=1)
    with pytest.raises(InputError, match="no block of the reference is longer"):
        fit_slow_modes(np.ones((10, 2)), frames, lag=7, spacing=1.0, n_components=1)
    topology = make_topology(copies=2)
    (kind,) = group_equal_molecules(topology)
    with pytest.raises(InputError, match="slow components need one molecule"):
        choose_features((), topology, kind, SlowModeSettings())
