"""Predict with mace-torch's ScaleShiftMACE. A script for mace's own Python environment, started by the parity test.

Usage: python mace_peer.py FOLDER. Reads FOLDER/cases.json and FOLDER/boxes.npz; for each case writes FOLDER/<name>.npz
with all weights and buffers, site energies and forces. Lengths come in nm and forces leave per nm; mace works in Å.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

# mace first: it lets the old e3nn read its constants
from mace.modules import ScaleShiftMACE, interaction_classes  # noqa: E402  # isort: skip
import numpy as np  # noqa: E402
import torch  # noqa: E402
from e3nn import o3  # noqa: E402


def hidden_irreps(case: dict) -> o3.Irreps:
    """Return the irreps of the features: natural parity, or all even where parity does not count."""
    letters = "eee" if case["symmetry"] == "SO(3)" else "eoe"
    return o3.Irreps("+".join(f"{case['n_features']}x{k}{letters[k]}" for k in range(case["l_max_hidden"] + 1)))


def build(case: dict) -> ScaleShiftMACE:
    """Return a network in float64 with random weights."""
    torch.manual_seed(case["seed"])
    first = {"residual": "RealAgnosticResidualInteractionBlock", "plain": "RealAgnosticInteractionBlock"}
    n_types = case["n_types"]
    return ScaleShiftMACE(
        r_max=10.0 * case["cutoff"],
        num_bessel=case["n_radial"],
        num_polynomial_cutoff=case["envelope_power"],
        max_ell=case["l_max"],
        interaction_cls=interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=interaction_classes[first[case["first_layer"]]],
        num_interactions=case["n_layers"],
        num_elements=n_types,
        hidden_irreps=hidden_irreps(case),
        MLP_irreps=o3.Irreps(f"{case['n_readout']}x0e"),
        atomic_energies=np.zeros(n_types),
        avg_num_neighbors=case["average_neighbors"],
        atomic_numbers=list(range(1, n_types + 1)),
        correlation=case["correlation"],
        gate=torch.nn.functional.silu,
        atomic_inter_scale=case["energy_scale"],
        atomic_inter_shift=0.0,
        radial_MLP=list(case["radial_widths"]),
        use_so3=case["symmetry"] == "SO(3)",
    )


def graph(case: dict, boxes: dict, number: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return a periodic box as mace's input.

    All sites are at the origin and the shifts are the pair vectors from first to second site, with the second site as
    sender: the directions, which mace takes from sender to receiver, are then those of the caller.
    """
    types = torch.from_numpy(boxes[f"types_{case['n_types']}_{number}"])
    index = torch.from_numpy(boxes[f"pair_index_{case['n_types']}_{number}"])
    vectors = 10.0 * torch.from_numpy(boxes[f"pair_vectors_{case['n_types']}_{number}"]).to(dtype)
    return {
        "positions": torch.zeros(len(types), 3, dtype=dtype),
        "node_attrs": torch.nn.functional.one_hot(types, case["n_types"]).to(dtype),
        "edge_index": index.flip(0).contiguous(),
        "shifts": vectors,
        "unit_shifts": torch.zeros_like(vectors),
        "cell": torch.eye(3, dtype=dtype),
        "batch": torch.zeros(len(types), dtype=torch.int64),
        "ptr": torch.tensor([0, len(types)]),
        "head": torch.zeros(1, dtype=torch.int64),
    }


def main(folder: Path) -> None:
    """Answer all cases."""
    torch.set_default_dtype(torch.float64)
    boxes = dict(np.load(folder / "boxes.npz"))
    for case in json.loads((folder / "cases.json").read_text()):
        network = build(case)
        results = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
        for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
            network = network.to(dtype)
            torch.set_default_dtype(dtype)
            for number in range(case["n_boxes"]):
                found = network(graph(case, boxes, number, dtype))
                results[f"energies_{name}_{number}"] = found["node_energy"].detach().numpy()
                # the shifts grow as the second site moves, mace's positions as the receiver does: the sign changes
                results[f"forces_{name}_{number}"] = -10.0 * found["forces"].detach().numpy()
        torch.set_default_dtype(torch.float64)
        np.savez(folder / f"{case['name']}.npz", **{key: np.array(value) for key, value in results.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
