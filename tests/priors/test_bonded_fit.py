"""Constants of bonded terms: closed forms, known distributions with their Jacobians, refusals that name the term."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError, PhysicsError
from beadsmith.priors.bonded_fit import fit_fourier, fit_harmonic
from beadsmith.priors.bonded_survey import survey_bonded
from beadsmith.priors.frames import FrameBlocks
from beadsmith.units import thermal_energy
from example_chains import break_across, build_chain, build_positions, make_frames

N_FRAMES = 20000
KT = thermal_energy(300.0)
LIMIT = 4.0
"""Standard errors: one in 16,000 by chance; errors are those of independent frames."""


def survey(*trajectories, coordinate, n_blocks=10):
    blocks = [
        (number, part)
        for number, trajectory in enumerate(trajectories)
        for part in np.array_split(np.arange(trajectory.n_frames), n_blocks)
    ]
    return survey_bonded(FrameBlocks(trajectories=trajectories, blocks=tuple(blocks)), coordinate)


def sample(log_density, low, high, n, seed):
    """Draw from a density by its cumulative sum on a fine grid."""
    grid = np.linspace(low, high, 200001)
    weights = np.exp(log_density(grid) - log_density(grid).max())
    return np.interp(np.random.default_rng(seed).random(n), np.cumsum(weights) / weights.sum(), grid)


def make_chain(lengths=None, angles=None, dihedrals=None, *, temperature=300.0, n=N_FRAMES):
    lengths = np.full(n, 0.15) if lengths is None else lengths
    angles = np.full(n, 1.9) if angles is None else angles
    rest = np.full((n, 1), 0.15), np.full((n, 1), 1.9), np.zeros((n, 1))
    positions = build_positions(
        np.hstack([lengths[:, None], rest[0], rest[0]]),
        np.hstack([angles[:, None], rest[1]]),
        rest[2] if dihedrals is None else dihedrals[:, None],
    )
    return make_frames(build_chain(4), positions, temperature=temperature)


def harmonic(centre, stiffness, jacobian=lambda x: 0.0 * x, kT=KT):
    return lambda x: jacobian(x) - 0.5 * stiffness * (x - centre) ** 2 / kT


def named(fits, name):
    return next(fit for fit in fits if fit.name == name)


def vary_everything(seed=0, n=N_FRAMES, **options):
    rng = np.random.default_rng(seed)
    positions = build_positions(
        rng.normal(0.15, 0.003, (n, 3)), rng.normal(1.9, 0.06, (n, 2)), rng.vonmises(1.0, 2.0, (n, 1))
    )
    return make_frames(build_chain(4), positions, **options)


def test_variance_estimator_is_mean_and_kT_over_variance():
    chain = vary_everything()
    lengths = np.linalg.norm(np.diff(chain.positions.astype(float), axis=1), axis=2)
    for number, fit in enumerate(fit_harmonic(survey(chain, coordinate="bond"), "variance", min_samples=100)):
        assert fit.parameters["centre"] == pytest.approx(lengths[:, number].mean(), rel=1e-9)
        assert fit.parameters["stiffness"] == pytest.approx(KT / lengths[:, number].var(), rel=1e-6)
        # the error of a variance of n normal numbers is √(2/n); that of ten blocks is known to 24 %
        assert fit.errors["stiffness"] / fit.parameters["stiffness"] == pytest.approx((2.0 / N_FRAMES) ** 0.5, rel=1.0)
        assert fit.reduced_chi_square == pytest.approx(1.0, abs=0.5)


@pytest.mark.parametrize(
    ("coordinate", "name", "centre", "stiffness", "jacobian"),
    [
        ("bond", "A-B", 0.15, 5000.0, lambda x: 2.0 * np.log(np.maximum(x, 1e-9))),
        ("angle", "A-B-C", 2.2, 30.0, lambda x: np.log(np.sin(x))),
    ],
)
def test_boltzmann_inversion_divides_the_jacobian_out(coordinate, name, centre, stiffness, jacobian):
    low, high = (0.01, 0.4) if coordinate == "bond" else (0.01, 3.13)
    values = sample(harmonic(centre, stiffness, jacobian), low, high, N_FRAMES, seed=1)
    chain = vary_everything()
    lengths, angles = (values, None) if coordinate == "bond" else (None, values)
    rng = np.random.default_rng(2)
    other = rng.normal(0.15, 0.003, (N_FRAMES, 3)), rng.normal(1.9, 0.06, (N_FRAMES, 2))
    if lengths is not None:
        other[0][:, 0] = lengths
    else:
        other[1][:, 0] = angles
    chain = make_frames(build_chain(4), build_positions(*other, np.zeros((N_FRAMES, 1))))
    surveyed = survey(chain, coordinate=coordinate)
    fit = named(fit_harmonic(surveyed, "boltzmann", min_samples=100), name)
    for key, expected in (("centre", centre), ("stiffness", stiffness)):
        assert abs(fit.parameters[key] - expected) < LIMIT * fit.errors[key]
        assert fit.errors[key] < 0.03 * expected
    # the soft terms here are such that leaving the Jacobian out is visible
    plain = named(fit_harmonic(surveyed, "variance", min_samples=100), name)
    assert abs(plain.parameters["centre"] - centre) > LIMIT * plain.errors["centre"]


def test_fourier_series_is_recovered_with_its_sines():
    true = np.array([1.5, -2.0, 0.5, 2.0, 0.7, -0.4])
    n = np.arange(1, 4)

    def log_density(phi):
        functions = np.concatenate([np.cos(np.outer(phi, n)), np.sin(np.outer(phi, n))], axis=1)
        return -functions @ true / KT

    chain = make_chain(dihedrals=sample(log_density, -np.pi, np.pi, 50000, seed=3), n=50000)
    (fit,) = fit_fourier(survey(chain, coordinate="dihedral"), order=3, min_samples=100)
    found, errors = (np.array(list(values.values())) for values in (fit.parameters, fit.errors))
    assert np.all(np.abs(found - true) < LIMIT * errors)
    assert np.all(errors < 0.1)
    assert fit.reduced_chi_square == pytest.approx(1.0, abs=0.5)


def test_two_temperatures_give_the_constants_of_one_potential():
    chains = []
    for seed, temperature in ((4, 300.0), (5, 450.0)):
        kT = thermal_energy(temperature)
        rng = np.random.default_rng(seed)
        lengths = rng.normal(0.15, (kT / 2e5) ** 0.5, (N_FRAMES, 3))
        angles = rng.normal(1.9, (kT / 500.0) ** 0.5, (N_FRAMES, 2))
        positions = build_positions(lengths, angles, np.zeros((N_FRAMES, 1)))
        chains.append(make_frames(build_chain(4), positions, temperature=temperature))
    fit = fit_harmonic(survey(*chains, coordinate="angle"), "variance", min_samples=100)[0]
    assert abs(fit.parameters["stiffness"] - 500.0) < LIMIT * fit.errors["stiffness"]
    # the frames have no Jacobian; divided out it changes ½ k (θ − θ0)² by kT ln sin θ, whose curvature is −kT/sin²θ
    fit = fit_harmonic(survey(*chains, coordinate="angle"), "boltzmann", min_samples=100)[0]
    lost = np.mean([thermal_energy(300.0), thermal_energy(450.0)]) / np.sin(1.9) ** 2
    assert abs(fit.parameters["stiffness"] + lost - 500.0) < LIMIT * fit.errors["stiffness"]


def test_weights_count_as_that_many_frames():
    chain = vary_everything(n=4000)
    weighted = replace(chain, weight=np.repeat([1.0, 3.0], 2000))
    repeated = replace(
        chain,
        positions=np.concatenate([chain.positions, chain.positions[2000:], chain.positions[2000:]]),
        times=np.arange(8000.0),
    )
    for coordinate in ("bond", "angle"):
        found, expected = (
            fit_harmonic(survey(frames, coordinate=coordinate), "variance", min_samples=100)[0]
            for frames in (weighted, repeated)
        )
        assert found.parameters == pytest.approx(expected.parameters, rel=1e-9)
    # Kish: (4000 · 2)² / (4000 · 5)
    assert found.n_effective == pytest.approx(3200.0)


def test_broken_molecules_have_the_constants_of_whole_ones():
    chain = vary_everything(n=2000)
    for coordinate in ("bond", "angle"):
        found, expected = (
            fit_harmonic(survey(frames, coordinate=coordinate), "variance", min_samples=100)[0]
            for frames in (break_across(chain, 1.9), chain)
        )
        # positions of up to 3 nm in float32
        assert found.parameters == pytest.approx(expected.parameters, rel=1e-3)


def test_improper_across_minus_pi_has_one_centre():
    phi = np.pi + np.random.default_rng(6).normal(0.0, 0.1, N_FRAMES)
    topology = build_chain(4, impropers=((0, 1, 2, 3),))
    chain = replace(make_chain(dihedrals=phi), topology=topology)
    for estimator in ("variance", "boltzmann"):
        (fit,) = fit_harmonic(survey(chain, coordinate="improper"), estimator, min_samples=100)
        assert abs(abs(fit.parameters["centre"]) - np.pi) < 0.01
        assert fit.parameters["stiffness"] == pytest.approx(KT / 0.01, rel=0.05)


def test_improper_with_two_states_is_refused():
    phi = np.where(np.arange(N_FRAMES) % 2, 0.6, -0.7) + np.random.default_rng(7).normal(0.0, 0.1, N_FRAMES)
    chain = replace(make_chain(dihedrals=phi), topology=build_chain(4, impropers=((0, 1, 2, 3),)))
    with pytest.raises(InputError, match=r"improper 'A-B-C-D' has a standard deviation of 0\.6.*more than one state"):
        fit_harmonic(survey(chain, coordinate="improper"), "variance", min_samples=100)


def test_too_few_values_are_refused_with_the_name_of_the_term():
    with pytest.raises(InputError, match="the bond 'A-B' has 50 effective samples, expected at least 200"):
        fit_harmonic(survey(vary_everything(n=50), coordinate="bond"), "variance", min_samples=200)


@pytest.mark.parametrize("estimator", ["variance", "boltzmann"])
def test_rigid_bonds_are_refused_with_the_name_of_the_term(estimator):
    with pytest.raises(PhysicsError, match=r"the bond 'A-B' has a standard deviation of .* it is rigid"):
        fit_harmonic(survey(make_chain(n=2000), coordinate="bond"), estimator, min_samples=100)


def test_distribution_without_a_minimum_is_refused_by_inversion():
    # two states of an angle: the best harmonic energy has its maximum between them
    angles = np.where(np.arange(N_FRAMES) % 2, 0.2, 2.9) + np.random.default_rng(8).normal(0.0, 0.05, N_FRAMES)
    chain = make_chain(angles=angles)
    with pytest.raises(PhysicsError, match=r"the stiffness of the angle 'A-B-C' is -.*expected positive"):
        fit_harmonic(survey(chain, coordinate="angle"), "boltzmann", min_samples=100)
