"""The evaluation of molecules, from files to JSON, on synthetic molecules whose distributions are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import vonmises

from beadsmith.analysis.definitions import (
    BasinDefinition,
    CoordinateDefinition,
    CoordinateRange,
    MoleculeSettings,
    SlowModeSettings,
    SurfaceDefinition,
)
from beadsmith.analysis.evaluate import EvaluationSettings, evaluate
from beadsmith.analysis.free_energy import jensen_shannon
from beadsmith.errors import InputError
from beadsmith.io.h5md import write_trajectory
from beadsmith.io.records import to_plain
from example_molecules import (
    make_backbone,
    make_dipeptide,
    make_molecule,
    make_topology,
    make_two_states,
)

NAME = "ACE-ALA-NME"
REPLICAS = np.repeat(np.arange(20), 200)


@pytest.fixture
def store(tmp_path):
    def write(name, trajectory):
        path = tmp_path / f"{name}.h5"
        write_trajectory(path, trajectory)
        return path

    return write


@pytest.fixture(scope="module")
def alanine(tmp_path_factory):
    """Return the evaluation of a run that has 0.45 instead of 0.3 in αR, and otherwise the same distributions."""
    folder = tmp_path_factory.mktemp("alanine")
    generator = np.random.default_rng(0)
    write_trajectory(folder / "mapped.h5", make_dipeptide(generator, n_frames=8000))
    write_trajectory(folder / "simulation.h5", make_dipeptide(generator, n_frames=4000, helix=0.45, segment=REPLICAS))
    return to_plain(
        evaluate(folder / "mapped.h5", {"network": folder / "simulation.h5"}, EvaluationSettings(n_blocks=20))
    )


def exact_surface(helix, n_bins):
    """Return the exact probability of each bin of the surface of `make_dipeptide` (noise of 0.5 degrees left out)."""
    edges = np.radians(np.linspace(-180.0, 180.0, n_bins + 1))

    def bins(mean):
        return np.diff(vonmises.cdf(edges, 20.0, loc=np.radians(mean)))

    return helix * np.outer(bins(-70.0), bins(-40.0)) + (1.0 - helix) * np.outer(bins(-75.0), bins(145.0))


def test_basin_populations_are_those_that_were_put_in(alanine):
    for name, helix in (("reference", 0.3), ("network", 0.45)):
        basins = alanine["systems"][name]["molecules"][NAME]["basins"]
        assert basins["alphaR"]["value"] == pytest.approx(helix, abs=3.0 * basins["alphaR"]["standard_error"])
        assert basins["beta/PII"]["value"] == pytest.approx(1 - helix, abs=3.0 * basins["beta/PII"]["standard_error"])
        assert basins["phi > 0"]["value"] < 1e-3
    n_frames = alanine["systems"]["reference"]["molecules"][NAME]["n_frames"]
    error = alanine["systems"]["reference"]["molecules"][NAME]["basins"]["alphaR"]["standard_error"]
    # independent frames: the binomial error, itself known to 16 % from 20 blocks
    assert error == pytest.approx(np.sqrt(0.3 * 0.7 / n_frames), rel=0.5)


def test_difference_of_populations_has_both_errors(alanine):
    found = alanine["comparisons"]["network"]["molecules"][NAME]["basins"]["alphaR"]
    assert found["value"] == pytest.approx(0.15, abs=3.0 * found["standard_error"])


@pytest.mark.parametrize("n_bins", [36, 20])
def test_divergence_of_surfaces_is_the_exact_one(alanine, n_bins):
    entry = alanine["comparisons"]["network"]["molecules"][NAME]["surfaces"]["phi, psi"][str(n_bins)]
    exact = jensen_shannon(exact_surface(0.45, n_bins), exact_surface(0.3, n_bins))
    found = entry["jensen_shannon"]
    chance = found["expected_by_chance"]["value"]
    # noise adds what two perfect runs show, up to the saturation of bins with few frames
    assert exact - 3.0 * found["standard_error"] < found["value"] < exact + 1.5 * chance + 3.0 * found["standard_error"]
    assert found["halves"]["reference"]["value"] > chance
    assert entry["n_samples"] == {"reference": 8000.0, "simulation": 4000.0}
    # the basins hardly overlap: the divergence of the reference from the simulation is that of their populations
    exact = 0.3 * np.log(0.3 / 0.45) + 0.7 * np.log(0.7 / 0.55)
    found = entry["kullback_leibler"]
    chance = found["expected_by_chance"]["value"]
    assert exact - 3.0 * found["standard_error"] < found["value"] < exact + 1.5 * chance + 3.0 * found["standard_error"]


def test_a_perfect_run_is_as_far_away_as_chance_says(store):
    generator = np.random.default_rng(1)
    reference = store("mapped", make_dipeptide(generator, n_frames=4000))
    simulated = store("simulation", make_dipeptide(generator, n_frames=4000, segment=REPLICAS))
    entry = evaluate(reference, {"network": simulated}, EvaluationSettings())["comparisons"]["network"]["molecules"]
    surface = entry[NAME]["surfaces"]["phi, psi"]["20"]
    # a sum over about 50 bins: chance itself scatters by 20 %
    for measure in ("jensen_shannon", "kullback_leibler"):
        found = surface[measure]
        assert found["value"] == pytest.approx(found["expected_by_chance"]["value"], rel=0.5)
    assert entry[NAME]["mirror"]["is_symmetric"] is False


def test_an_open_molecule_has_neither_liquid_structure_nor_pressure_nor_diffusion(alanine):
    for system in alanine["systems"].values():
        assert system["rdf"] == system["adf"] == system["closest_pair"] == system["diffusion"] == {}
        assert system["pressure"] is None
        assert "thermostat" in system["no_diffusion"]
    assert alanine["systems"]["network"]["kinetic_temperature"]["value"] == pytest.approx(300.0, rel=0.02)


def test_a_liquid_of_one_bead_molecules_has_no_molecules_to_measure(store):
    from example_trajectories import make_liquid

    path = store("mapped", make_liquid(np.random.default_rng(2), n_frames=40))
    result = evaluate(path, {"network": path}, EvaluationSettings(diffusion_start=0.4, window_end=0.9))
    assert result["systems"]["reference"]["molecules"] == {}
    assert result["comparisons"]["network"]["molecules"] == {}
    assert result["systems"]["reference"]["rdf"]


def test_every_curve_has_errors_and_every_distance_the_halves_beside_it(alanine):
    json.dumps(alanine, allow_nan=False)
    system = alanine["systems"]["reference"]["molecules"][NAME]
    assert set(system["coordinates"]) == {"phi", "psi", "radius of gyration", "end to end", "RMSD"}
    assert "bond C-CA" in system["bonded"]
    for entry in (*system["coordinates"].values(), *system["bonded"].values()):
        assert max(entry["curve"]["standard_error"]) > 0.0
        assert entry["halves"]["unit"] == "nat"
    comparison = alanine["comparisons"]["network"]["molecules"][NAME]
    for entry in (*comparison["coordinates"].values(), *comparison["bonded"].values()):
        for measure in ("jensen_shannon", "kullback_leibler"):
            assert entry[measure]["halves"]["reference"]["value"] > 0.0
            assert entry[measure]["expected_by_chance"]["value"] > 0.0
    assert system["coordinates"]["phi"]["mean"] is None
    mean = system["bonded"]["bond C-CA"]["mean"]
    # noise of 0.002 nm on both beads stretches 0.145 nm by σ²/r: 3e-5 nm
    assert mean["value"] == pytest.approx(0.145 + 2 * 0.002**2 / 0.145, abs=4.0 * mean["standard_error"])


def test_beads_that_know_distances_only_are_called_mirror_symmetric_and_scored_without_their_hand(store):
    generator = np.random.default_rng(3)
    reference = store("mapped", make_dipeptide(generator, n_frames=6000))
    simulated = store("simulation", make_dipeptide(generator, n_frames=6000, mirrored=0.5))
    result = evaluate(reference, {"network": simulated}, EvaluationSettings(n_blocks=20))
    comparison = result["comparisons"]["network"]["molecules"][NAME]
    mirror = comparison["mirror"]
    assert mirror["coordinate"] == "phi"
    assert mirror["is_symmetric"] is True
    positive = mirror["positive"]["simulation"]
    assert positive["value"] == pytest.approx(0.5, abs=3.0 * positive["standard_error"])
    assert mirror["positive"]["reference"]["value"] < 1e-3
    surface = comparison["surfaces"]["phi, psi"]["20"]
    # half the weight where the reference has none: JS = ½ [ln 4/3 + ½ ln 2/3 + ½ ln 2] = 0.2158
    exact = 0.5 * (np.log(4 / 3) + 0.5 * np.log(2 / 3) + 0.5 * np.log(2.0))
    assert surface["jensen_shannon"]["value"] == pytest.approx(exact, abs=0.02)
    fair = surface["symmetrised"]["jensen_shannon"]
    assert fair["value"] < 2.0 * fair["expected_by_chance"]["value"]


def test_named_coordinates_surfaces_and_basins_are_measured(store):
    settings = EvaluationSettings(
        molecules=MoleculeSettings(
            coordinates=(
                CoordinateDefinition(name="turn", kind="dihedral", sites=("ACE:C", "ALA:N", "CA", "ALA:C")),
                CoordinateDefinition(name="span", kind="distance", sites=("ACE:C", "NME:N")),
                CoordinateDefinition(name="bend", kind="angle", sites=("ALA:N", "CA", "ALA:C")),
            ),
            surfaces=(SurfaceDefinition(x="turn", y="span"),),
            basins=(
                BasinDefinition(name="left", ranges=(CoordinateRange(coordinate="turn", start=-180.0, end=-72.5),)),
                BasinDefinition(name="left", ranges=(CoordinateRange(coordinate="turn", start=-72.5, end=0.0),)),
            ),
        )
    )
    path = store("mapped", make_dipeptide(np.random.default_rng(4), n_frames=500))
    molecule = evaluate(path, {}, settings)["systems"]["reference"]["molecules"][NAME]
    assert list(molecule["surfaces"]) == ["turn, span", "phi, psi"]
    assert molecule["coordinates"]["bend"]["mean"]["value"] == pytest.approx(112.0, abs=0.5)
    assert molecule["coordinates"]["turn"]["curve"]["density"] == molecule["coordinates"]["phi"]["curve"]["density"]
    # basins of one name are one basin
    assert list(molecule["basins"]) == ["left"]
    assert molecule["basins"]["left"]["value"] == 1.0


def test_many_copies_in_a_periodic_cell_are_made_whole_and_counted_together(store):
    generator = np.random.default_rng(5)
    n_copies, edge = 8, 2.0
    phi, psi = generator.vonmises(0.0, 3.0, (2, n_copies, 300))
    parts = [
        make_backbone(np.degrees(phi[k]), np.degrees(psi[k])) + generator.random(3) * edge for k in range(n_copies)
    ]
    positions = np.concatenate(parts, axis=1) % edge
    cell = np.repeat(edge * np.eye(3, dtype=np.float32)[None], 300, axis=0)
    topology = make_topology(copies=n_copies)
    path = store("mapped", make_molecule(positions, topology, cell=cell))
    molecule = evaluate(path, {}, EvaluationSettings(window_end=0.9))["systems"]["reference"]["molecules"][NAME]
    assert molecule["n_copies"] == n_copies
    assert molecule["bonded"]["bond C-N"]["mean"]["value"] == pytest.approx(0.145, abs=1e-5)
    positive = molecule["coordinates"]["phi"]["positive"]
    assert positive["value"] == pytest.approx(np.mean(phi > 0.0), abs=1e-3)
    # a structure to fold to is a matter of one molecule
    assert "RMSD" not in molecule["coordinates"]


def make_slow_dipeptide(generator, states, segment=None):
    """Return capped alanine that sits in αR where the state is 1."""
    return make_dipeptide(generator, n_frames=len(states), in_helix=states == 1, segment=segment)


def test_simulations_are_projected_on_the_slow_components_of_the_reference(store):
    generator = np.random.default_rng(6)
    states = make_two_states(generator, n_frames=500, leave=(0.02, 0.03), starts=np.arange(20) % 2).ravel()
    segment = np.repeat(np.arange(20), 500)
    reference = store("mapped", make_slow_dipeptide(generator, states, segment))
    # the simulation never leaves the second state
    simulated = store("simulation", make_slow_dipeptide(generator, np.ones(1000, dtype=int)))
    settings = EvaluationSettings(
        n_blocks=20, molecules=MoleculeSettings(slow_modes=SlowModeSettings(lag=5.0, n_states=10))
    )
    result = evaluate(reference, {"network": simulated}, settings)
    slow = result["systems"]["reference"]["molecules"][NAME]["slow_modes"]
    expected = -1.0 / np.log(0.95)
    slowest = slow["implied_timescales"][0]["timescales"][0]
    assert slowest["value"] == pytest.approx(expected, abs=3.0 * slowest["standard_error"])
    assert slow["timescales"][0]["value"] == pytest.approx(expected, rel=0.2)
    assert slow["is_reweighted"] is False
    molecules = {name: system["molecules"][NAME] for name, system in result["systems"].items()}
    assert "TIC 1, TIC 2" in molecules["network"]["surfaces"]
    # whitened two-state coordinate with populations 0.6 and 0.4: ±√(0.6/0.4) in the second state
    middle = molecules["network"]["coordinates"]["TIC 1"]["mean"]["value"]
    assert abs(middle) == pytest.approx(np.sqrt(1.5), abs=0.15)
    entry = result["comparisons"]["network"]["molecules"][NAME]["coordinates"]["TIC 1"]
    exact = 0.5 * (0.4 * np.log(0.4 / 0.7) + 0.6 * np.log(2.0) + np.log(1.0 / 0.7))
    assert entry["jensen_shannon"]["value"] == pytest.approx(exact, abs=0.03)


def test_adaptively_sampled_references_are_reweighted_on_request(store):
    generator = np.random.default_rng(7)
    states = make_two_states(generator, n_frames=20, leave=(0.02, 0.005), starts=np.arange(300) % 2).ravel()
    segment = np.repeat(np.arange(300), 20)
    path = store("mapped", make_slow_dipeptide(generator, states, segment))
    slow = SlowModeSettings(lag=2.0, n_states=4)
    plain, weighted = (
        evaluate(path, {}, EvaluationSettings(n_blocks=20, molecules=MoleculeSettings(slow_modes=modes)))
        for modes in (slow, replace(slow, reweight=True))
    )
    plain, weighted = (result["systems"]["reference"]["molecules"][NAME] for result in (plain, weighted))
    assert plain["basins"]["alphaR"]["value"] < 0.65
    found = weighted["basins"]["alphaR"]
    assert found["value"] == pytest.approx(0.8, abs=3.0 * found["standard_error"])
    assert weighted["n_effective"] < 6000
    assert weighted["slow_modes"]["is_reweighted"] is True


@pytest.mark.parametrize(
    ("molecules", "problem"),
    [
        (
            MoleculeSettings(coordinates=(CoordinateDefinition(name="a", kind="distance", sites=("X", "CA")),)),
            "names no site",
        ),
        (
            MoleculeSettings(
                coordinates=(CoordinateDefinition(name="a", kind="distance", sites=("N", "CA"), molecule="PRO"),)
            ),
            "names the molecule 'PRO'",
        ),
        (MoleculeSettings(surfaces=(SurfaceDefinition(x="phi", y="chi"),)), "no molecule has together"),
        (
            MoleculeSettings(
                basins=(BasinDefinition(name="b", ranges=(CoordinateRange(coordinate="chi", start=0.0, end=1.0),)),)
            ),
            "the basin 'b' needs coordinates",
        ),
    ],
)
def test_definitions_that_name_what_is_not_there_are_refused(store, molecules, problem):
    path = store("mapped", make_dipeptide(np.random.default_rng(8), n_frames=20))
    with pytest.raises(InputError, match=problem):
        evaluate(path, {}, EvaluationSettings(molecules=molecules))


def test_a_native_frame_beyond_the_reference_is_refused(store):
    path = store("mapped", make_dipeptide(np.random.default_rng(8), n_frames=20))
    settings = MoleculeSettings()
    settings = replace(settings, native=replace(settings.native, frame=20))
    with pytest.raises(InputError, match="the reference has only 20 frames"):
        evaluate(path, {}, EvaluationSettings(molecules=settings))
