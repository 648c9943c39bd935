"""Judge the finished methanol demo: every promised figure, with bins, windows and lengths fixed here.

Nothing below uses the project's own analysis: distances, angles and averages are computed anew in NumPy.
Run ``make demo`` first, then ``make demo-check``.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict
from beadsmith.force_field import load_force_field
from beadsmith.io.h5md import read_trajectory
from beadsmith.neighbors import find_pairs
from beadsmith.units import BAR, GAS_CONSTANT

pytestmark = pytest.mark.demo

BIN = 0.01
WINDOW = (0.3, 1.0)
ARM = 0.45
N_ANGLE_BINS = 36
HELD_OUT = 0.2
N_BLOCKS = 5


def minimum_image(vectors, edge):
    return vectors - edge * np.round(vectors / edge)


class Structure:
    """Pair and triplet counts of a cubic one-component liquid, frame by frame."""

    def __init__(self, trajectory):
        edge = float(trajectory.cell[0, 0, 0])
        n_sites = trajectory.n_sites
        self.edges = np.arange(0.0, edge / 2, BIN)
        counts = np.zeros(len(self.edges) - 1)
        angles = np.zeros(N_ANGLE_BINS)
        self.smallest = np.inf
        for positions in trajectory.positions.astype(np.float64):
            vectors = minimum_image(positions[None] - positions[:, None], edge)
            distance = np.linalg.norm(vectors, axis=2)
            np.fill_diagonal(distance, np.inf)
            self.smallest = min(self.smallest, distance.min())
            counts += np.histogram(distance, self.edges)[0]
            angles += self._count_angles(vectors, distance)
        shells = 4 / 3 * np.pi * np.diff(self.edges**3)
        density = (n_sites - 1) / edge**3
        self.g = counts / (trajectory.n_frames * n_sites * density * shells)
        self.r = 0.5 * (self.edges[1:] + self.edges[:-1])
        self.adf = angles / angles.mean()

    @staticmethod
    def _count_angles(vectors, distance):
        total = np.zeros(N_ANGLE_BINS)
        for site in range(len(distance)):
            arms = vectors[site, distance[site] < ARM]
            arms /= np.linalg.norm(arms, axis=1, keepdims=True)
            first, second = np.triu_indices(len(arms), 1)
            cosines = np.clip((arms[first] * arms[second]).sum(1), -1, 1)
            total += np.histogram(np.degrees(np.arccos(cosines)), N_ANGLE_BINS, (0, 180))[0]
        return total

    def first_peak(self):
        """Return position and height of the first peak from a parabola through the 5 bins around the maximum."""
        top = int(np.argmax(np.where(self.r < 0.43, self.g, 0.0)))
        a, b, c = np.polyfit(self.r[top - 2 : top + 3], self.g[top - 2 : top + 3], 2)
        return -b / (2 * a), c - b * b / (4 * a)

    def difference(self, other):
        inside = (self.r > WINDOW[0]) & (self.r < WINDOW[1])
        return np.abs(self.g - other.g)[inside].mean()


@pytest.fixture(scope="module")
def folder(request):
    path = Path(request.config.getoption("--run-folder"))
    if not (path / "report.html").is_file():
        pytest.skip(f"no finished run in '{path}': run 'make demo' first")
    return path


@pytest.fixture(scope="module")
def mapped(folder):
    return read_trajectory(folder / "mapped.h5")


@pytest.fixture(scope="module")
def simulated(folder):
    return read_trajectory(folder / "simulation.h5")


@pytest.fixture(scope="module")
def structures(folder, mapped, simulated):
    spline = read_trajectory(folder / "pair_spline.h5")
    return {"reference": Structure(mapped), "network": Structure(simulated), "spline": Structure(spline)}


@pytest.fixture(scope="module")
def losses(folder, mapped):
    """Mean squared force error of each frame, (kJ/mol/nm)² per component, for all models."""
    models = {name: load_force_field(folder / name) for name in ("force_field", "pair_spline")}
    errors = {name: np.empty(mapped.n_frames) for name in models}
    with torch.no_grad():
        for frame in range(mapped.n_frames):
            batch = build_batch(mapped, np.array([frame]))
            pairs = find_pairs(batch, max(model.cutoff for model in models.values()))
            for name, model in models.items():
                forces = predict(model, batch, pairs).forces.numpy()
                errors[name][frame] = ((forces - mapped.forces[frame]) ** 2).mean()
    errors["zero"] = (mapped.forces.astype(np.float64) ** 2).mean((1, 2))
    return errors


def explained(losses, name, frames):
    return 1.0 - losses[name][frames].mean() / losses["zero"][frames].mean()


def held_out(mapped):
    return slice(mapped.n_frames - round(HELD_OUT * mapped.n_frames), mapped.n_frames)


def test_the_system_is_the_promised_one(mapped):
    assert mapped.n_sites == 256
    assert mapped.n_frames >= 500
    assert mapped.state_point.temperature == pytest.approx(300.0)
    density = mapped.topology.total_mass / mapped.volumes()[0] / 602.214076
    assert density == pytest.approx(0.75, rel=1e-3)


def test_pair_spline_explains_what_data_and_units_demand(losses, mapped):
    assert 0.165 <= explained(losses, "pair_spline", held_out(mapped)) <= 0.195


def test_network_explains_enough_of_held_out_forces(losses, mapped):
    assert explained(losses, "force_field", held_out(mapped)) >= 0.225


def test_network_does_not_overfit(losses, mapped, folder):
    training = json.loads((folder / "training.json").read_text())
    n_train = training["n_frames"]["train"]
    gap = explained(losses, "force_field", slice(0, n_train)) - explained(losses, "force_field", held_out(mapped))
    assert gap <= 0.012


def test_network_loss_is_5_percent_and_5_standard_errors_below_the_pair_spline(losses, mapped):
    frames = held_out(mapped)
    difference = losses["pair_spline"][frames] - losses["force_field"][frames]
    blocks = np.array([block.mean() for block in np.array_split(difference, N_BLOCKS)])
    assert difference.mean() >= 0.05 * losses["pair_spline"][frames].mean()
    assert difference.mean() >= 5.0 * blocks.std(ddof=1) / np.sqrt(N_BLOCKS)


def test_runs_are_long_enough_to_be_judged(folder, simulated):
    for trajectory in (simulated, read_trajectory(folder / "pair_spline.h5")):
        segments = trajectory.segment if trajectory.segment is not None else np.zeros(trajectory.n_frames)
        spans = [np.ptp(trajectory.times[segments == label]) for label in np.unique(segments)]
        assert sum(spans) >= 39.0


def test_a_10_fs_step_survives_50_ps(folder, simulated):
    settings = json.loads((folder / "record.json").read_text())["configuration"]["simulation"]
    assert settings["timestep"] == "10 fs"
    assert simulated.times.max() >= 50.0
    assert np.isfinite(simulated.energy).all()


def test_first_peak_is_where_and_as_high_as_in_the_reference(structures):
    position, height = structures["network"].first_peak()
    reference_position, reference_height = structures["reference"].first_peak()
    assert abs(position - reference_position) <= 0.005
    assert abs(height / reference_height - 1.0) <= 0.10


def test_radial_distribution_is_close_and_better_than_the_pair_spline(structures):
    network = structures["network"].difference(structures["reference"])
    assert network <= 0.018
    assert network < structures["spline"].difference(structures["reference"])


def test_angular_distribution_is_close_and_better_than_the_pair_spline(structures):
    reference = structures["reference"].adf
    network = np.abs(structures["network"].adf - reference).mean()
    assert network <= 0.050
    assert network < np.abs(structures["spline"].adf - reference).mean()


def test_no_pair_comes_closer_than_what_was_ever_sampled(structures):
    assert structures["network"].smallest >= 0.27


def test_kinetic_temperature_is_the_set_one(folder):
    """The integrator's own estimate: the full-step velocities of BAOAB are cold by O(dt²)."""
    network = json.loads((folder / "evaluation.json").read_text())["systems"]["network"]
    temperature = network["kinetic_temperature"]
    assert temperature["standard_error"] <= 0.005 * 300.0
    assert abs(temperature["value"] - 300.0) <= 3.0 * temperature["standard_error"]


def test_pressure_is_stated(mapped, simulated, folder):
    """Forces alone leave it thousands of bar off: the report says so and the check only warns."""

    def pressure(trajectory):
        volume = trajectory.volumes()
        ideal = trajectory.n_sites * GAS_CONSTANT * 300.0 / volume
        return ((ideal + np.trace(trajectory.virial, axis1=1, axis2=2) / (3 * volume)) / BAR).mean()

    systems = json.loads((folder / "evaluation.json").read_text())["systems"]
    for name, trajectory in {"reference": mapped, "network": simulated}.items():
        assert systems[name]["pressure"]["value"] == pytest.approx(pressure(trajectory), rel=0.02, abs=20.0)
    checks = {check["name"]: check for check in json.loads((folder / "checks.json").read_text())["checks"]}
    assert checks["pressure"]["status"] in ("pass", "warn")
