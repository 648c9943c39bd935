"""Equality with mace-torch, the library MACE comes from, on the same weights.

mace-torch needs an environment of its own: it pins an old e3nn and switches off safe loading for its whole process.
"""

import itertools
import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from beadsmith.networks.mace import Mace, MaceLayer, MaceSettings
from beadsmith.networks.spherical_harmonics import n_components
from beadsmith.testing import NetworkInput, build_box

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("BEADSMITH_MACE_PYTHON", ROOT / ".peers" / "mace" / "bin" / "python"))
HOW_TO_GET_IT = (
    "mace-torch has no environment of its own: make it with 'make peers', or name its Python in BEADSMITH_MACE_PYTHON"
)
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason=HOW_TO_GET_IT)

N_BOXES = 2
CUTOFF = 0.6
SMALL = {
    "n_features": 8,
    "radial_widths": (16, 16, 16),
    "cutoff": CUTOFF,
    "average_neighbors": 11.3,
    "n_knots": 0,
    "energy_scale": 1.7,
}
CASES: dict[str, tuple[dict, int]] = {
    f"correlation_{correlation}_hidden_{l_max_hidden}_types_{n_types}": (
        {"correlation": correlation, "l_max_hidden": l_max_hidden, "l_max": 3},
        n_types,
    )
    for correlation, l_max_hidden, n_types in itertools.product((1, 2, 3), (0, 1, 2), (1, 2))
} | {
    "one_layer": ({"n_layers": 1, "l_max_hidden": 0}, 2),
    "three_layers": ({"n_layers": 3, "l_max": 2, "l_max_hidden": 1}, 2),
    "residual_first_layer": ({"first_layer": "residual", "l_max_hidden": 1, "l_max": 3}, 2),
    "other_sizes": ({"n_radial": 6, "envelope_power": 5, "n_readout": 7, "radial_widths": (11,), "l_max": 2}, 1),
    "residual_one_layer": ({"first_layer": "residual", "n_layers": 1, "l_max_hidden": 0}, 1),
    "so3_correlation_2": ({"symmetry": "SO(3)", "correlation": 2, "l_max_hidden": 1, "l_max": 3}, 2),
    "so3_correlation_3": ({"symmetry": "SO(3)", "correlation": 3, "l_max_hidden": 2, "l_max": 3}, 1),
}


def settings_of(case: str) -> MaceSettings:
    """Return the settings of one case."""
    return MaceSettings(**(SMALL | CASES[case][0]))


def boxes_of(n_types: int) -> list[NetworkInput]:
    """Return the periodic boxes that both sides see."""
    return [build_box(n_sites=64, n_types=n_types, cutoff=CUTOFF, seed=seed) for seed in range(N_BOXES)]


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> Path:
    """Return the folder in which mace-torch, asked once, left its weights, energies and forces of all cases."""
    folder = tmp_path_factory.mktemp("mace")
    requests = [
        asdict(settings_of(name)) | {"name": name, "n_types": n_types, "seed": seed, "n_boxes": N_BOXES}
        for seed, (name, (_, n_types)) in enumerate(CASES.items())
    ]
    (folder / "cases.json").write_text(json.dumps(requests))
    arrays = {
        f"{field}_{n_types}_{number}": getattr(box, field).numpy()
        for n_types in (1, 2)
        for number, box in enumerate(boxes_of(n_types))
        for field in ("types", "pair_index", "pair_vectors")
    }
    np.savez(folder / "boxes.npz", **arrays)
    script = Path(__file__).with_name("mace_peer.py")
    done = subprocess.run([PYTHON, script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@torch.no_grad()
def load_peer_weights(ours: Mace, arrays: dict[str, np.ndarray]) -> None:
    """Copy mace-torch's weights; only those of the symmetric products need a change of basis."""
    weights = {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype == np.float64}
    ours.embedding.copy_(weights["node_embedding.linear.weight"].view_as(ours.embedding))
    for k, layer in enumerate(ours.layers):
        load_layer(layer, weights, f"interactions.{k}.", f"products.{k}.")
    for k, readout in enumerate(ours.readouts):
        readout.copy_(weights[f"readouts.{k}.linear.weight"].view_as(readout))
    for k, readout in enumerate(ours.last_readout):
        name = f"readouts.{ours.settings.n_layers - 1}.linear_{k + 1}.weight"
        readout.copy_(weights[name].view_as(readout))


def load_layer(layer: MaceLayer, weights: dict[str, torch.Tensor], interaction: str, product: str) -> None:
    """Copy the weights of one layer."""
    layer.up.copy_(weights[interaction + "linear_up.weight"].view_as(layer.up))
    for k, weight in enumerate(layer.radial.weights):
        weight.copy_(weights[f"{interaction}conv_tp_weights.layer{k}.weight"])
    down = weights[interaction + "linear.weight"].split([weight.numel() for weight in layer.down])
    for weight, values in zip(layer.down, down, strict=True):
        weight.copy_(values.view_as(weight))
    n_degrees, n_types, n, _ = layer.skip.shape
    layer.skip.copy_(weights[interaction + "skip_tp.weight"].view(n_degrees, n, n_types, n).transpose(1, 2))
    layer.out.copy_(weights[product + "linear.weight"].view_as(layer.out))
    for degree in range(layer.contraction.l_max_out + 1):
        load_contraction(layer, degree, weights, f"{product}symmetric_contractions.contractions.{degree}.")


def load_contraction(layer: MaceLayer, degree: int, weights: dict[str, torch.Tensor], prefix: str) -> None:
    """Express mace-torch's products, which are not independent of each other, in ours, which are."""
    contraction, start = layer.contraction, 0
    correlation = contraction.correlation
    for order, basis in enumerate(contraction.bases(degree), start=1):
        n_m, n_in = 2 * degree + 1, n_components(contraction.l_max)
        peer = weights[f"{prefix}U_matrix_{order}"].reshape(n_m, *[n_in] * order, -1)
        assert peer.shape[-1] == max(basis.n_orderings, 1)
        theirs = torch.zeros(n_m, len(basis.monomials), peer.shape[-1], dtype=torch.float64)
        for k, monomial in enumerate(basis.monomials.tolist()):
            for factors in set(itertools.permutations(monomial)):
                theirs[:, k] += peer[:, *factors]
        mine = torch.from_numpy(basis.coefficients).flatten(1).T
        change = torch.linalg.lstsq(mine, theirs.flatten(0, 1)).solution
        torch.testing.assert_close(mine @ change, theirs.flatten(0, 1), rtol=0.0, atol=1e-12)
        name = "weights_max" if order == correlation else f"weights.{correlation - 1 - order}"
        part = slice(start, start + len(basis.coefficients))
        contraction.weights[degree][:, part] = torch.einsum("ab,tbk->tak", change, weights[prefix + name])
        start = part.stop


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_energies_and_forces_of_periodic_boxes_equal_mace_torch(case, dtype, answers):
    # the largest difference of 64 sites is compared with the largest value of its box. In float32 some of these random
    # networks amplify rounding: two results, each as far from the exact one as mace-torch is, may differ by twice that
    tolerance = 1e-5 if dtype is torch.float32 else 1e-9
    n_types = CASES[case][1]
    arrays = dict(np.load(answers / f"{case}.npz"))
    ours = Mace(settings_of(case), tuple("ab"[:n_types])).double()
    load_peer_weights(ours, arrays)
    ours, name = ours.to(dtype), str(dtype).removeprefix("torch.")
    for number, box in enumerate(boxes_of(n_types)):
        site_energies, gradient = ours.pair_gradient(
            box.types, box.pair_index, box.pair_vectors.to(dtype), box.bond_class, torch.ones(64, 1, dtype=dtype)
        )
        forces = torch.zeros(64, 3, dtype=dtype).index_add(0, box.pair_index[0], gradient)
        forces = forces.index_add(0, box.pair_index[1], -gradient)
        for found, quantity in ((site_energies, "energies"), (forces, "forces")):
            expected = torch.from_numpy(arrays[f"{quantity}_{name}_{number}"]).to(dtype)
            exact = torch.from_numpy(arrays[f"{quantity}_float64_{number}"])
            rounding = float((expected - exact).abs().max())
            allowed = max(tolerance * float(exact.abs().max()), 2.0 * rounding)
            torch.testing.assert_close(found, expected, rtol=0.0, atol=allowed)


def test_basis_of_products_is_smaller_than_the_one_of_mace_torch_where_couplings_depend_on_each_other(answers):
    arrays = dict(np.load(answers / "correlation_3_hidden_1_types_1.npz"))
    theirs = [arrays[f"products.0.symmetric_contractions.contractions.{degree}.weights_max"] for degree in (0, 1)]
    ours = Mace(settings_of("correlation_3_hidden_1_types_1"), ("a",)).layers[0].contraction
    assert [weight.shape[1] for weight in theirs] == [23, 51]
    assert [len(ours.bases(degree)[2].coefficients) for degree in (0, 1)] == [8, 12]
