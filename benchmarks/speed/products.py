"""How many operations the dense matrix products of a network need: the part of the work that the matrix peak limits.

Counted by hand, because compiled sweeps make some of them where no counter sees it. One product of a vector by an
n × m matrix has 2 n m operations. Everything that is not a dense product is left out: sums over neighbours, radial
functions, MACE's symmetric contraction. With m operations for the energy, forces take 2 m (the adjoint of a product is
one product), and a training step 6 m (the gradient of each of these two takes two). Training also makes radial tables,
once for all beads.
"""

from itertools import pairwise
from typing import Any

N_KNOTS = {"schnet": 1024, "mace": 512}
"""Intervals of beadsmith's radial tables, the default of its settings."""


def count_gflop(network: dict[str, Any], n_sites: int, task: str) -> float:
    """Return the operations of one force call or one training step in 10⁹.

    Parameters
    ----------
    network : Description of a network, see `benchmarks.speed.cases`.
    n_sites : Beads of all frames together.
    task : "training step" or "energy and forces".
    """
    count = {"hipnn": _count_hipnn, "schnet": _count_schnet, "mace": _count_mace}[network["kind"]]
    per_site, per_knot = count(network)
    if task == "training step":
        return 1e-9 * (6 * per_site * n_sites + 3 * per_knot * N_KNOTS.get(network["kind"], 0))
    return 1e-9 * 2 * per_site * n_sites


def _count_hipnn(network: dict[str, Any]) -> tuple[int, int]:
    """Return the operations of a site and of a knot: environment or projection, mixing, residuals, atom layers."""
    width, n_types = network["n_features"], network["n_types"]
    n_components, n_sensitivities = (network["l_max"] + 1) ** 2, network["n_sensitivities"]
    # each layer is one product for itself and one for its residual
    layers = 2 * width * width * (1 + 2 * network["n_atom_layers"])
    first = 2 * n_components * n_sensitivities * n_types * width + 4 * n_types * width
    later = 2 * n_sensitivities * width * width + 2 * width * width
    n_later = network["n_interactions"] - 1
    return first + layers + n_later * (later + layers) + 2 * width * (n_later + 1), 0


def _count_schnet(network: dict[str, Any]) -> tuple[int, int]:
    """Return the operations of a site, three products an interaction and the readout, and those of the filters."""
    width, n_interactions = network["n_features"], network["n_interactions"]
    per_site = 6 * width * width * n_interactions + 2 * width * (width // 2) + width
    return per_site, 2 * width * (network["n_radial"] + width) * n_interactions


def _count_mace(network: dict[str, Any]) -> tuple[int, int]:
    """Return the operations of a site, all mixing of channels, and those of the radial networks; O(3) only."""
    channels, l_max, hidden, n_layers = (network[k] for k in ("n_channels", "l_max", "hidden_l_max", "n_interactions"))
    per_site = per_knot = 0
    for layer in range(n_layers):
        entering = 0 if layer == 0 else hidden
        leaving = 0 if layer == n_layers - 1 else hidden
        paths = [
            degree
            for sent in range(entering + 1)
            for angular in range(l_max + 1)
            for degree in range(abs(sent - angular), min(sent + angular, l_max) + 1)
            if (sent + angular + degree) % 2 == 0
        ]
        shared = sum(2 * rank + 1 for rank in range(min(entering, leaving) + 1))
        sizes = sum(2 * rank + 1 for rank in range(entering + 1)) + sum(2 * rank + 1 for rank in range(leaving + 1))
        per_site += 2 * channels**2 * (sizes + shared + sum(2 * degree + 1 for degree in paths))
        widths = (network["n_radial"], *network["radial_widths"], len(paths) * channels)
        per_knot += sum(2 * a * b for a, b in pairwise(widths))
    return per_site + 2 * channels * (n_layers - 1 + network["n_readout"]), per_knot
