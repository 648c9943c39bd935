"""Virials in the loss: its gradient, what their weight means, and the pressure that they restore."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.analysis.thermodynamics import measure_mean, pressures
from beadsmith.batch import build_batch
from beadsmith.energy import predict
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, load_force_field
from beadsmith.io.h5md import read_trajectory, write_trajectory
from beadsmith.neighbors import find_pairs
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.fit import PriorSettings
from beadsmith.simulation.run import simulate
from beadsmith.thermal_form import ThermalForm
from beadsmith.training.checkpoint import FitFiles
from beadsmith.training.data import load_example, prepare_frames, segment_labels, split_by_use
from beadsmith.training.fit import train
from beadsmith.training.label_errors import compute_loss, label_losses
from beadsmith.training.label_noise import weigh_labels
from beadsmith.training.labels import LabelSettings, check_kinds
from beadsmith.training.loop import fit_network
from beadsmith.training.settings import TrainingSettings
from beadsmith.training.virial_labels import measure_virials
from beadsmith.training.volume_settings import PressureRunSettings, VolumeTermSettings
from beadsmith.units import BAR
from example_chains import make_chains
from example_force_fields import make_force_field
from example_force_matching import CUTOFF, DensityNetwork, make_labelled_liquid, make_wall

SMALL = {"cutoff": CUTOFF, "n_features": 6}
NETWORKS = {
    "one interaction": HipnnSettings(**SMALL, l_max=2, n_sensitivities=6, n_atom_layers=1, soft_max=0.5),
    "two interactions": HipnnSettings(**SMALL, n_interactions=2, n_sensitivities=6, n_atom_layers=1, soft_max=0.5),
    "schnet": SchnetSettings(**SMALL, n_filters=6, n_radial=6, n_knots=64),
    "mace": MaceSettings(cutoff=CUTOFF, n_features=4, l_max_hidden=1, radial_widths=(8,), n_knots=64),
}
TRUTH = DensityNetwork(-8.0, 1.5)


def make_virial_liquid(seed=0, *, noise=0.0, virial_noise=0.0, **options):
    """Return a liquid with forces and virials of wall, pairs and triplets, plus noise [kJ/mol/nm] and [kJ/mol]."""
    liquid = make_labelled_liquid(seed, truth=TRUTH, noise=noise, **options)
    force_field = ForceField([make_wall()], TRUTH, make_force_field(make_wall()).record)
    batch = build_batch(liquid, np.arange(liquid.n_frames), dtype=torch.float64)
    with torch.no_grad():
        virial = predict(force_field, batch, find_pairs(batch, CUTOFF)).virial.numpy()
    drawn = np.random.default_rng(seed + 100).normal(0.0, virial_noise, virial.shape)
    return replace(liquid, virial=virial + 0.5 * (drawn + drawn.transpose(0, 2, 1)))


def prepare(trajectory, settings, *, variance=400.0):
    """Return frames with the labels that the settings ask for; force components have a variance [(kJ/mol/nm)²]."""
    rows = split_by_use((trajectory,), validation_fraction=0.1, test_fraction=0.2).train
    weighing = weigh_labels(
        (trajectory,), rows, baseline=make_force_field(make_wall()), baseline_losses=np.full(len(rows), variance),
        cutoff=CUTOFF, form=ThermalForm(), settings=settings,
    )  # fmt: skip
    frames = prepare_frames(
        (trajectory,), [make_wall()], cutoff=CUTOFF, memory_limit=1.0, weights=weighing.weights, dtype=torch.float64
    )
    return frames, weighing


def find_gradient(network, frames, rows):
    """Return loss and flat gradient by the weights."""
    network.zero_grad()
    example = load_example(frames, rows)
    loss = compute_loss(network, frames.thermal_form, example, [0.0], create_graph=True)
    loss.backward()
    # constants of the energy have no part in forces or virials
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
    return float(loss.detach()), torch.cat([gradient.flatten() for gradient in gradients])


def move(network, direction, step):
    """Move the weights along a flat direction, in place."""
    with torch.no_grad():
        start = 0
        for parameter in network.parameters():
            part = direction[start : start + parameter.numel()]
            parameter += step * part.view_as(parameter)
            start += parameter.numel()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_a_loss_on_forces_and_virials_is_that_of_finite_differences(name):
    # so much weight that virials are most of the loss
    frames, _ = prepare(make_virial_liquid(n_frames=26), LabelSettings(virials=300.0))
    network = build_network(NETWORKS[name], ("bead",), torch.Generator().manual_seed(0)).double()
    rows = np.array([[0, 1], [0, 4]])
    shares = {kind: values.mean() for kind, values in label_losses(network, frames, rows).items()}
    assert shares["virials"] > shares["forces"]
    loss, gradient = find_gradient(network, frames, rows)
    assert loss == pytest.approx(sum(shares.values()), rel=1e-9)
    direction = torch.randn(len(gradient), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step, losses = 1e-5, []
    for factor in (1.0, -2.0):
        move(network, direction, factor * step)
        losses.append(find_gradient(network, frames, rows)[0])
    slope = (losses[0] - losses[1]) / (2.0 * step)
    # central differences: the error is of order step²
    assert float(gradient @ direction) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_and_plain_steps_have_the_same_gradient(name):
    frames, _ = prepare(make_virial_liquid(n_frames=26), LabelSettings(virials=300.0))
    network = build_network(NETWORKS[name], ("bead",), torch.Generator().manual_seed(2)).double()
    rows = np.array([[0, 0], [0, 7]])
    _, compiled = find_gradient(network, frames, rows)
    network.is_fused = False
    _, plain = find_gradient(network, frames, rows)
    torch.testing.assert_close(compiled, plain, rtol=1e-8, atol=1e-8 * float(plain.abs().max()))


def test_virials_of_molecules_of_several_beads_are_about_their_centres():
    """Chains in a cell: the gradient goes through the vectors between centres, not between beads."""
    chains = make_chains(6, n_beads=3)
    edge = 3.0
    chains = replace(
        chains, cell=np.repeat((edge * np.eye(3, dtype=np.float32))[None], 6, axis=0),
        forces=np.zeros_like(chains.positions), virial=np.zeros((6, 3, 3)),
    )  # fmt: skip
    settings = HipnnSettings(**SMALL, n_sensitivities=6, n_atom_layers=1, soft_max=0.5)
    network = build_network(settings, chains.topology.type_names, torch.Generator().manual_seed(3)).double()
    weights = ({"forces": None, "virials": np.ones(6)},)
    frames = prepare_frames((chains,), [], cutoff=CUTOFF, memory_limit=1.0, weights=weights, dtype=torch.float64)
    # one molecule whose images are beyond the cutoff: nothing pulls at its centre
    assert np.abs(label_losses(network, frames, np.array([[0, 0]]))["virials"]).max() < 1e-20


def test_a_weight_of_one_counts_a_virial_component_like_a_force_component():
    trajectory = make_virial_liquid(virial_noise=30.0, noise=20.0)
    frames, weighing = prepare(trajectory, LabelSettings(virials=1.0))
    noise = weighing.summary[0]["labels"]["virials"]["noise"]
    (weight,) = np.unique(weighing.weights[0]["virials"])
    # A is the variance of a force component here, 400 (kJ/mol/nm)²; 6 components a frame against 3 x 27
    assert weight == pytest.approx(400.0 / noise**2 * 6.0 / 81.0)
    assert weighing.summary[0]["labels"]["virials"]["unit"] == "kJ/mol"
    # 30 kJ/mol on the diagonal; off it the mean of two numbers counts twice, which makes 30 again
    assert noise > 0.9 * 30.0 / np.sqrt(2.0)
    ten = prepare(trajectory, LabelSettings(virials=10.0))[1].weights[0]["virials"]
    np.testing.assert_allclose(ten, 10.0 * weight)
    assert frames.labels[0]["virials"].values.shape == (trajectory.n_frames, 6)


def fit_linear(folder, trajectory, settings, *, variance=400.0):
    """Return the density network that was fitted to all labels that the settings ask for."""
    frames, _ = prepare(trajectory, settings, variance=variance)
    split = split_by_use((trajectory,), validation_fraction=0.1, test_fraction=0.2)
    folder.mkdir()
    return fit_network(
        DensityNetwork(), frames, train_rows=split.train, validation_rows=split.validation,
        settings=TrainingSettings(
            epochs=25, learning_rate=0.3, weight_decay=0.0, averaging=0.9, early_stop_patience=25
        ),
        files=FitFiles(checkpoint=folder / "fit", identity="a", log=folder / "training.csv"), seed=0,
    ).network  # fmt: skip


def test_virials_restore_the_pressure_that_noisy_forces_leave_wrong(tmp_path):
    trajectory = make_virial_liquid(3, noise=600.0, virial_noise=5.0, n_frames=60)
    rows = split_by_use((trajectory,), validation_fraction=0.1, test_fraction=0.2).test
    record = make_force_field(make_wall()).record
    models = {
        name: ForceField([make_wall()], fit_linear(tmp_path / name, trajectory, settings, variance=600.0**2), record)
        for name, settings in (("forces", LabelSettings()), ("both", LabelSettings(virials=1.0)))
    }
    found = measure_virials(
        models, (trajectory,), rows, segment_labels((trajectory,), rows), cutoff=CUTOFF, dtype=torch.float64
    )["models"]
    # the labels' own noise on the test frames is 5 kJ/mol of 3.4 nm³, 25 bar a frame
    assert abs(found["both"]["pressure_error"]["value"]) < 3.0 * found["both"]["pressure_error"]["error"]
    assert abs(found["both"]["pressure_error"]["value"]) < 0.2 * abs(found["forces"]["pressure_error"]["value"])


def test_the_log_says_what_each_kind_of_label_adds_to_the_loss(tmp_path):
    trajectory = make_virial_liquid(4, noise=20.0)
    fit_linear(tmp_path / "both", trajectory, LabelSettings(virials=1.0))
    rows = list(csv.DictReader((tmp_path / "both" / "training.csv").open()))
    for row in rows:
        total = float(row["validation_forces"]) + float(row["validation_virials"])
        assert float(row["validation_loss"]) == pytest.approx(total)
    assert float(rows[-1]["validation_virials"]) < 0.1 * float(rows[0]["validation_virials"])


NETWORK = HipnnSettings(n_features=4, n_sensitivities=5, n_atom_layers=1, cutoff=0.6, soft_min=0.24, soft_max=0.5)
QUICK = TrainingSettings(
    epochs=2, learning_rate=0.01, averaging=0.9, noise_floor_fractions=(), labels=LabelSettings(virials=1.0),
    volume_term=VolumeTermSettings(),
)  # fmt: skip


def run(folder, trajectory, settings=QUICK, network=NETWORK, **options):
    """Train in a folder."""
    write_trajectory(folder / "mapped.h5", trajectory, {"aggregation": "optimal"})
    return train(
        settings, network, PriorSettings(cutoff=0.6, n_intervals=6, n_blocks=3), (folder / "mapped.h5",),
        folder / "force_field", baseline_output=folder / "pair_spline", seed=3, identity="a", **options,
    )  # fmt: skip


def test_training_reports_virials_and_writes_the_term_of_the_volume(tmp_path):
    summary = run(tmp_path, make_virial_liquid(5, noise=20.0, virial_noise=20.0, n_frames=50))
    written = json.loads((tmp_path / "training.json").read_text())
    assert written["virials"] == summary["virials"]
    models = summary["virials"]["models"]
    assert set(models) == {"pair_spline", "network", "pair_spline_with_volume_term", "network_with_volume_term"}
    for name in ("pair_spline", "network"):
        added = summary["volume_term"][name]["pressure"]["value"]
        before, after = (models[n]["pressure_error"]["value"] for n in (name, f"{name}_with_volume_term"))
        assert after == pytest.approx(before + added, abs=0.5)
        (*_, term) = load_force_field(tmp_path / ("force_field" if name == "network" else name)).prior
        assert term.kind == "volume"
        # fitted on other frames than those of the test: what is left is sampling error
        error = np.hypot(models[name]["pressure_error"]["error"], summary["volume_term"][name]["pressure"]["error"])
        assert abs(after) < 4.0 * error
    assert summary["labels"][0]["labels"]["virials"]["noise"] > 0.0


def test_a_term_of_the_volume_can_be_fitted_to_simulations_and_goes_on_after_a_kill(tmp_path):
    """Pair splines alone: the term makes up for what their own simulation at the same volume shows."""
    term = VolumeTermSettings(
        method="simulation", simulation=PressureRunSettings(equilibration=0.5, duration=3.0, save_interval=0.1)
    )
    settings = replace(QUICK, labels=LabelSettings(), volume_term=term, checkpoint_interval=0.0)
    trajectory = make_virial_liquid(9, noise=20.0, n_frames=50)
    # as if 3000 bar came from what was mapped out
    outer = 3000.0 * BAR * trajectory.volumes()[:, None, None] * np.eye(3)
    trajectory = replace(trajectory, virial=trajectory.virial + outer)

    class Killed(Exception):
        pass

    def kill(done, total, note=""):
        if "pressure of pair_spline: 2" in note:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, trajectory, settings, network=None, progress=kill)
    assert list((tmp_path / "training.checkpoint").glob("pressure-pair_spline-0.h5.parts/*"))
    summary = run(tmp_path, trajectory, settings, network=None)
    assert not (tmp_path / "training.checkpoint").exists()
    (tmp_path / "again").mkdir()
    whole = run(tmp_path / "again", trajectory, settings, network=None)
    assert summary["volume_term"] == whole["volume_term"]
    added = summary["volume_term"]["pair_spline"]["pressure"]
    force_field = load_force_field(tmp_path / "force_field")
    simulate(
        force_field, trajectory, term.simulation.to_simulation(), tmp_path / "s.h5", temperature=300.0, seed=77,
        identity="t",
    )  # fmt: skip
    seen = read_trajectory(tmp_path / "s.h5")
    own, known = (measure_mean(pressures(t) / BAR, unit="bar", segment=t.segment) for t in (seen, trajectory))
    error = np.sqrt(own.standard_error**2 + known.standard_error**2 + added["error"] ** 2)
    assert abs(added["value"]) > 5.0 * error
    assert abs(own.value - known.value) < 4.0 * error


def test_a_force_field_is_continued_without_its_term_of_the_volume(tmp_path):
    trajectory = make_virial_liquid(6, noise=20.0, virial_noise=20.0)
    run(tmp_path, trajectory)
    again = replace(QUICK, epochs=0, volume_term=None)
    train(
        again, NETWORK, PriorSettings(cutoff=0.6, n_intervals=6, n_blocks=3), (tmp_path / "mapped.h5",),
        tmp_path / "again", baseline_output=tmp_path / "spline", seed=3, identity="b", start=tmp_path / "force_field",
    )  # fmt: skip
    assert [term.kind for term in load_force_field(tmp_path / "again").prior if term.kind == "volume"] == []


def test_pair_splines_alone_take_a_term_of_the_volume(tmp_path):
    settings = replace(QUICK, labels=LabelSettings())
    summary = run(tmp_path, make_virial_liquid(7, noise=20.0), settings, network=None)
    assert set(summary["virials"]["models"]) == {"pair_spline", "pair_spline_with_volume_term"}
    assert [term.kind for term in load_force_field(tmp_path / "force_field").prior][-1] == "volume"


def test_virial_labels_without_virials_are_refused(tmp_path):
    bare = replace(make_virial_liquid(8), virial=None)
    with pytest.raises(InputError, match=r"'training.labels.virials' is 1, but no mapped trajectory has virials"):
        check_kinds(LabelSettings(virials=1.0), ThermalForm(), (bare,))
    with pytest.raises(InputError, match=r"'training.volume_term' is given, but no mapped trajectory"):
        run(tmp_path, bare)


def test_a_negative_weight_is_refused():
    with pytest.raises(InputError, match="'virials' is -1"):
        LabelSettings(virials=-1.0)
