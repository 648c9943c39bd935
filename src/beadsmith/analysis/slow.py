"""The slow motions of a molecule: TICA, a Markov state model, and the weights it gives to adaptively sampled frames.

Time lags never cross a segment. deeptime does the linear algebra and lives here alone; it is imported where it is
used, because that takes a second. Sources: G. Pérez-Hernández et al., J. Chem. Phys. 139, 015102 (2013) for TICA;
J.-H. Prinz et al., J. Chem. Phys. 134, 174105 (2011) for Markov state models and reweighting by their stationary
distribution.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.blocks import FrameBlocks, StateWeights
from beadsmith.analysis.coordinates import Coordinate
from beadsmith.analysis.definitions import SlowModeSettings
from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.internal import distances
from beadsmith.errors import InputError
from beadsmith.statistics import leave_one_out_error
from beadsmith.topology import MoleculeKind, Topology

Features = Callable[[np.ndarray], np.ndarray]
"""Positions of whole molecules (frames, sites, 3) [nm] to features (frames, features)."""

_LAG_MULTIPLES = (1, 2, 4)
_MOST_PAIRS = 300
_SHORTEST_SEPARATION = 3
_MOST_CLUSTERED = 50_000
_MOST_TIMESCALES = 2


@dataclass(frozen=True, kw_only=True)
class SlowModes:
    """Slow components of a reference, ready to project other data on."""

    mean: Float[np.ndarray, "features"]
    """Mean of each feature over the reference."""
    components: Float[np.ndarray, "features components"]
    """Coefficients of the components; the projected reference has mean 0 and variance 1."""
    eigenvalues: Float[np.ndarray, "components"]
    """Autocorrelation of each component at the lag."""
    timescales: tuple[Measurement, ...]
    """−lag/ln λ of each component [ps], errors by jackknife over blocks; NaN where λ is not positive."""

    def project(self, features: Float[np.ndarray, "frames features"]) -> Float[np.ndarray, "frames components"]:
        """Return the components of frames."""
        return (features.astype(np.float64) - self.mean) @ self.components

    def map_kinetically(self, features: Float[np.ndarray, "frames features"]) -> Float[np.ndarray, "frames components"]:
        """Return the components times |λ|, so that what is forgotten within the lag does not divide states.

        Source: F. Noé and C. Clementi, J. Chem. Theory Comput. 11, 5002 (2015).
        """
        return self.project(features) * np.abs(self.eigenvalues)


@dataclass(frozen=True, kw_only=True)
class MarkovModel:
    """A Markov state model of the projected reference."""

    state_weights: StateWeights
    """State of each frame and stationary weight of each state; 0 outside the largest connected set of states."""
    connected_fraction: float
    """Fraction of the frames inside that set."""
    timescales: dict[float, tuple[Measurement, ...]]
    """Implied timescales [ps] at each lag [ps], slowest first, errors by jackknife over blocks. Timescales that still
    grow with the lag are too short."""


def choose_features(
    coordinates: tuple[Coordinate, ...], topology: Topology, molecules: MoleculeKind, settings: SlowModeSettings
) -> Features:
    """Return the function that computes the features of one molecule.

    Distances are those of all pairs of beads at least three apart along the molecule; of its CA beads alone where
    that makes more than 300 pairs.

    Raises
    ------
    InputError : there are several molecules, or nothing to make features of.
    """
    if molecules.n_molecules != 1:
        raise InputError(
            f"slow components need one molecule, got {molecules.n_molecules} copies of '{molecules.name}'",
            fix="Leave out 'slow_modes'.",
        )
    sites = molecules.sites[0]
    circular = [entry for entry in coordinates if entry.is_periodic] if settings.features != "distances" else []
    pairs = sites[_distant_pairs(topology, sites)] if settings.features != "dihedrals" else np.zeros((0, 2), np.int64)
    if not circular and not len(pairs):
        raise InputError(
            f"the molecule '{molecules.name}' has no features for slow components",
            where="features",
            fix="Name dihedrals under 'coordinates', or use distances.",
        )

    def compute(positions: np.ndarray) -> np.ndarray:
        columns = [distances(positions, pairs)] if len(pairs) else []
        for entry in circular:
            assert entry.compute is not None
            radians = np.radians(entry.compute(positions))
            columns += [np.cos(radians), np.sin(radians)]
        return np.concatenate(columns, axis=1).astype(np.float32)

    return compute


def find_lag(
    times: Float[np.ndarray, "frames"], segment: Int[np.ndarray, "frames"] | None, lag: float
) -> tuple[int, float]:
    """Return a time lag as a number of frames, at least 1, and the time between frames [ps].

    Raises
    ------
    InputError : the frames are not equally spaced, or no segment is longer than the lag.
    """
    runs = np.zeros(len(times), dtype=np.int64) if segment is None else segment
    steps = np.diff(times)[np.diff(runs) == 0]
    spacing = float(np.median(steps)) if len(steps) else 0.0
    if not spacing > 0.0 or np.abs(steps - spacing).max() > 1e-3 * spacing:
        raise InputError("the frames of the reference are not equally spaced in time, so it has no slow components")
    n_frames = max(1, round(lag / spacing))
    longest = int(np.unique(runs, return_counts=True)[1].max())
    if longest <= n_frames:
        raise InputError(
            f"'lag' is {lag:g} ps, but no run of the reference is longer than {longest * spacing:g} ps",
            fix="Lower 'lag'.",
        )
    return n_frames, spacing


def fit_slow_modes(
    features: Float[np.ndarray, "frames features"],
    frames: FrameBlocks,
    *,
    lag: int,
    spacing: float,
    n_components: int,
) -> SlowModes:
    """Return the slowest components by TICA, reversible (symmetrised) and whitened.

    Maximises the autocorrelation wᵀ C(τ) w at wᵀ C(0) w = 1, with the covariances of the pairs (x_t, x_{t+τ}) of one
    piece in both directions; a pair has the weight of its first frame. The largest coefficient of a component, in
    units of its feature's spread, is positive.

    Parameters
    ----------
    features : Features of all frames.
    frames : Pieces that pairs may be made of, blocks for the errors, and weights.
    lag : Time lag in frames.
    spacing : Time between frames [ps].
    n_components : Number of components; fewer where the features have a lower rank.

    Raises
    ------
    InputError : no piece is longer than the lag, or no feature varies.
    """
    blocks = _blocks_longer_than(lag, frames)
    moments = [_sum_moments(features, block, lag, frames.weight) for block in blocks]
    total = tuple(sum(parts) for parts in zip(*moments, strict=True))
    whole = _decompose(total, lag)
    count = min(n_components, len(whole.singular_values))
    eigenvalues = np.asarray(whole.singular_values[:count])
    replicates = [
        _timescales(_decompose(_subtract(total, parts), lag).singular_values, lag * spacing, count)
        for parts in moments
        if len(moments) > 1
    ]
    components = np.asarray(whole.instantaneous_coefficients[:, :count])
    scaled = components * np.sqrt(np.diag(whole.cov_00))[:, None]
    signs = np.sign(scaled[np.abs(scaled).argmax(axis=0), np.arange(count)])
    return SlowModes(
        mean=np.asarray(whole.mean_0),
        components=components * signs,
        eigenvalues=eigenvalues,
        timescales=_measure(_timescales(eigenvalues, lag * spacing, count), replicates),
    )


def fit_markov_model(
    points: Float[np.ndarray, "frames components"],
    frames: FrameBlocks,
    *,
    lag: int,
    spacing: float,
    n_states: int,
    seed: int = 0,
) -> MarkovModel:
    """Return states, their stationary weights and implied timescales, from each frame's place in slow coordinates.

    k-means on at most 50,000 evenly spread frames makes the states; the reversible maximum-likelihood model of the
    transitions at the lag gives π. A frame of state s has the weight π_s / (share of s among the frames), so averages
    over the frames are equilibrium averages however the runs were started, as long as the states are connected.

    Raises
    ------
    InputError : no piece is longer than the lag.
    """
    states = _cluster(points, n_states, seed)
    n_found = int(states.max()) + 1
    _blocks_longer_than(lag, frames)
    timescales = {}
    for multiple in _LAG_MULTIPLES:
        time = multiple * lag * spacing
        counts = _count_transitions(states, frames, multiple * lag, n_found)
        total = counts.sum(axis=0)
        if all((total - part).sum() > 0.0 for part in counts):
            replicates = [_implied(total - part, time) for part in counts]
            timescales[time] = _measure(_implied(total, time), replicates)
    counts = _count_transitions(states, frames, lag, n_found)
    occupations = np.array([np.bincount(states[frames.block == k], minlength=n_found) for k in range(frames.n_blocks)])
    total, everywhere = counts.sum(axis=0), occupations.sum(axis=0)
    weights = stationary_weights(total, everywhere)
    left_out = [
        # without this block nothing may be left to tell: then the block decides alone, and its error is not known
        stationary_weights(total - part, everywhere - here) if (total - part).sum() > 0.0 else np.full(n_found, np.nan)
        for part, here in zip(counts, occupations, strict=True)
    ]
    return MarkovModel(
        state_weights=StateWeights(states=states, weights=weights, left_out=np.array(left_out)),
        connected_fraction=float(np.mean(weights[states] > 0.0)),
        timescales=timescales,
    )


def stationary_weights(
    transitions: Float[np.ndarray, "states states"], occupation: Float[np.ndarray, "states"]
) -> Float[np.ndarray, "states"]:
    """Return the weight of a frame of each state, mean 1 over all frames; 0 outside the largest connected set.

    Parameters
    ----------
    transitions : Number of transitions between states at the lag.
    occupation : Number of frames in each state.
    """
    model, symbols = _fit_reversible(transitions)
    stationary = np.zeros(len(transitions))
    stationary[symbols] = model.stationary_distribution
    weights = np.divide(stationary, occupation, out=np.zeros_like(stationary), where=occupation > 0)
    return weights * occupation.sum() / (weights @ occupation)


def _sum_moments(
    features: np.ndarray, block: list[np.ndarray], lag: int, weight: np.ndarray
) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Return Σ w, Σ w x, Σ w x xᵀ and Σ w x(t) x(t+τ)ᵀ over the pairs of a block, each pair in both directions."""
    n_features = features.shape[1]
    weights, sums = 0.0, np.zeros(n_features)
    instant, lagged = np.zeros((2, n_features, n_features))
    for piece in block:
        # float64: the sums of a million float32 numbers lose digits
        x, y = features[piece[:-lag]].astype(np.float64), features[piece[lag:]].astype(np.float64)
        share = weight[piece[:-lag]]
        weights += 2.0 * share.sum()
        sums += share @ x + share @ y
        instant += (share[:, None] * x).T @ x + (share[:, None] * y).T @ y
        cross = (share[:, None] * x).T @ y
        lagged += cross + cross.T
    return weights, sums, instant, lagged


def _subtract(total: tuple[Any, ...], part: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(whole - some for whole, some in zip(total, part, strict=True))


def _decompose(moments: tuple[Any, ...], lag: int) -> Any:
    """Return deeptime's model of the covariances that sums of moments give."""
    from deeptime.covariance import CovarianceModel
    from deeptime.decomposition import TICA
    from deeptime.numeric import ZeroRankError

    weights, sums, instant, lagged = moments
    mean = sums / weights
    outer = np.outer(mean, mean)
    covariances = CovarianceModel(
        cov_00=instant / weights - outer,
        cov_0t=lagged / weights - outer,
        cov_tt=instant / weights - outer,
        mean_0=mean,
        mean_t=mean,
        lagtime=lag,
        symmetrized=True,
        data_mean_removed=True,
    )
    try:
        return TICA(lagtime=lag, scaling=None).fit_from_covariances(covariances).fetch_model()
    except ZeroRankError as error:
        raise InputError("no feature of the reference varies, so it has no slow components") from error


def _fit_reversible(transitions: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return the reversible model of the largest connected set and the states in it."""
    from deeptime.markov import TransitionCountModel
    from deeptime.markov.msm import MaximumLikelihoodMSM

    counts = TransitionCountModel(transitions).submodel_largest()
    return MaximumLikelihoodMSM(reversible=True).fit_fetch(counts), np.asarray(counts.state_symbols)


def _implied(transitions: np.ndarray, lag: float) -> np.ndarray:
    """Return the slowest implied timescales of a transition matrix, padded with NaN."""
    model, _ = _fit_reversible(transitions)
    return _timescales(model.eigenvalues()[1:], lag, min(_MOST_TIMESCALES, len(transitions) - 1))


def _timescales(eigenvalues: np.ndarray, lag: float, count: int) -> np.ndarray:
    """Return −lag/ln λ of the first eigenvalues, padded with NaN; NaN where λ is not between 0 and 1."""
    values = np.full(count, np.nan)
    found = np.real(eigenvalues[:count])
    usable = np.flatnonzero((found > 0.0) & (found < 1.0))
    values[usable] = -lag / np.log(found[usable])
    return values


def _measure(values: np.ndarray, replicates: list[np.ndarray]) -> tuple[Measurement, ...]:
    errors = leave_one_out_error(np.array(replicates)) if len(replicates) > 1 else np.full(len(values), np.nan)
    return tuple(
        Measurement(value=float(value), standard_error=float(error), unit="ps", n_samples=max(1, len(replicates)))
        for value, error in zip(values, errors, strict=True)
    )


def _cluster(points: np.ndarray, n_states: int, seed: int) -> Int[np.ndarray, "frames"]:
    """Return the k-means cluster of each frame, numbered without gaps."""
    from deeptime.clustering import KMeans

    places = np.ascontiguousarray(points, dtype=np.float64)
    spread = places[:: max(1, -(-len(places) // _MOST_CLUSTERED))]
    count = min(n_states, len(np.unique(spread, axis=0)))
    model = KMeans(n_clusters=count, fixed_seed=seed, n_jobs=1, max_iter=100).fit_fetch(spread)
    found = np.asarray(model.transform(places, n_jobs=1))
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _count_transitions(
    states: np.ndarray, frames: FrameBlocks, lag: int, n_states: int
) -> Float[np.ndarray, "blocks states states"]:
    """Return the number of transitions at a lag within the pieces of each block (sliding window)."""
    counts = np.zeros((frames.n_blocks, n_states * n_states))
    for row, block in zip(counts, frames.pieces, strict=True):
        for piece in block:
            pairs = states[piece[:-lag]] * n_states + states[piece[lag:]]
            row += np.bincount(pairs, minlength=n_states * n_states)
    return counts.reshape(-1, n_states, n_states)


def _blocks_longer_than(lag: int, frames: FrameBlocks) -> list[list[np.ndarray]]:
    """Return the blocks without the pieces that are too short for the lag, and without those left empty."""
    blocks = [[piece for piece in block if len(piece) > lag] for block in frames.pieces]
    used = [block for block in blocks if block]
    if not used:
        raise InputError(f"no block of the reference is longer than the lag of {lag} frames", fix="Lower 'lag'.")
    return used


def _distant_pairs(topology: Topology, sites: Int[np.ndarray, "sites"]) -> Int[np.ndarray, "pairs 2"]:
    """Return pairs of sites, counted within the molecule, that are far enough apart along it to be slow."""
    pairs = _pairs_apart(np.arange(len(sites)))
    carbons = np.flatnonzero([topology.names[site].upper() == "CA" for site in sites])
    return _pairs_apart(carbons) if len(pairs) > _MOST_PAIRS and len(carbons) > 1 else pairs


def _pairs_apart(chain: Int[np.ndarray, "chain"]) -> Int[np.ndarray, "pairs 2"]:
    first, second = np.triu_indices(len(chain), min(_SHORTEST_SEPARATION, max(1, len(chain) - 1)))
    return np.stack([chain[first], chain[second]], axis=1)
