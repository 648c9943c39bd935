"""Time HIP-NN-TS against its plain-torch twin and against hippynn, alternating in one run on one thread.

    python benchmarks/speed/hipnn.py [output.csv]

A training step is energies and forces of four frames, a loss on the forces, its gradient and one step of Adam; a force
call is energies and forces of one frame with frozen weights. A frame is a box of 258 beads with the density of liquid
methanol and about 60 neighbours within 1 nm. Each number is a median over rounds in which all candidates take turns;
times are processor times of one thread, which other users of the machine disturb least; read the ratios. hippynn runs
with each of its CPU kernels, and the best counts.
"""

import csv
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
import torch

from beadsmith.energy import AbstractNetwork
from beadsmith.networks.hipnn import Hipnn, HipnnSettings, build_hipnn
from beadsmith.testing import NetworkInput, build_box, join

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import hippynn
    from hippynn.layers.targets import HEnergy
    from hippynn.networks.hipnn import HipnnQuad, HipnnVec

N_ROUNDS = 5
CUTOFF = 1.0
CASES = {
    "l=1, 1 interaction, 24 features": HipnnSettings(),
    "l=2, 1 interaction, 24 features": HipnnSettings(l_max=2),
    "l=1, 2 interactions, 24 features": HipnnSettings(n_interactions=2),
    "l=2, 2 interactions, 20 features": HipnnSettings(l_max=2, n_interactions=2, n_features=20),
}
PEER_KERNELS = ("_pytorch_raw", "pytorch", "numba")

PairGradient = Callable[[NetworkInput, bool], torch.Tensor]


def use_beadsmith(network: Hipnn) -> PairGradient:
    """Return the fused path."""

    def call(system: NetworkInput, create_graph: bool) -> torch.Tensor:
        weights = torch.ones(len(system.types), 1)
        return network.pair_gradient(
            system.types, system.pair_index, system.pair_vectors, system.bond_class, weights, create_graph=create_graph
        )[1]

    return call


def use_twin(network: Hipnn) -> PairGradient:
    """Return the plain-torch path of the same network."""

    def call(system: NetworkInput, create_graph: bool) -> torch.Tensor:
        weights = torch.ones(len(system.types), 1)
        return AbstractNetwork.pair_gradient(
            network,
            system.types,
            system.pair_index,
            system.pair_vectors,
            system.bond_class,
            weights,
            create_graph=create_graph,
        )[1]

    return call


def use_peer(settings: HipnnSettings, kernel: str) -> tuple[PairGradient, torch.nn.Module]:
    """Return hippynn's path with one of its kernels, and its parameters."""
    network = {1: HipnnVec, 2: HipnnQuad}[settings.l_max](
        n_features=settings.n_features,
        n_sensitivities=settings.n_sensitivities,
        n_atom_layers=settings.n_atom_layers,
        n_interaction_layers=settings.n_interactions,
        n_input_features=1,
        dist_soft_min=settings.soft_min,
        dist_soft_max=settings.soft_max,
        dist_hard_max=settings.cutoff,
    )
    readout = HEnergy(network.feature_sizes)

    def call(system: NetworkInput, create_graph: bool) -> torch.Tensor:
        select_peer_kernel(kernel)
        vectors = system.pair_vectors.clone().requires_grad_()
        one_hot = torch.ones(len(system.types), 1)
        features = network(one_hot, *system.pair_index, torch.linalg.vector_norm(vectors, dim=1), vectors)
        energy = sum(layer(part).sum() for layer, part in zip(readout.layers, features, strict=True))
        return torch.autograd.grad(energy, vectors, create_graph=create_graph)[0]

    return call, torch.nn.ModuleList([network, readout])


def select_peer_kernel(kernel: str) -> None:
    """Select one of hippynn's kernels, without its warning that the plain one is not standard."""
    if kernel != hippynn.custom_kernels.CUSTOM_KERNELS_ACTIVE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hippynn.custom_kernels.set_custom_kernels(kernel)


def forces_from(system: NetworkInput, gradient: torch.Tensor) -> torch.Tensor:
    """Return the force on each bead."""
    forces = torch.zeros(len(system.types), 3)
    return forces.index_add(0, system.pair_index[0], gradient).index_add(0, system.pair_index[1], -gradient)


def training_step(pair_gradient: PairGradient, parameters: torch.nn.Module, system: NetworkInput) -> Callable[[], None]:
    """Return a function that makes one step of force matching."""
    optimiser = torch.optim.Adam(parameters.parameters(), lr=1e-5)
    labels = torch.randn(len(system.types), 3, generator=torch.Generator().manual_seed(1))

    def step() -> None:
        optimiser.zero_grad()
        loss = ((forces_from(system, pair_gradient(system, True)) - labels) ** 2).mean()
        loss.backward()
        optimiser.step()

    return step


def force_call(pair_gradient: PairGradient, system: NetworkInput) -> Callable[[], None]:
    """Return a function that computes the forces of one frame."""

    def call() -> None:
        forces_from(system, pair_gradient(system, False))

    return call


def can_run(name: str, run: Callable[[], None]) -> bool:
    """Warm a candidate up; leave a peer's kernel out if it cannot run here (one of them needs a C++ compiler)."""
    try:
        run()
    except Exception as error:
        if name.startswith("beadsmith"):
            raise
        print(f"{name} left out: {type(error).__name__}", file=sys.stderr)
        return False
    return True


def take_turns(candidates: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Return the median time of each candidate [ms]; all run once in each round."""
    candidates = {name: run for name, run in candidates.items() if can_run(name, run)}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(N_ROUNDS):
        for name, run in candidates.items():
            start = time.process_time()
            run()
            times[name].append(1e3 * (time.process_time() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


def measure(settings: HipnnSettings) -> dict[str, dict[str, float]]:
    """Return the times of both tasks for all candidates."""
    frames = [build_box(n_sites=258, n_types=1, cutoff=CUTOFF, seed=s, dtype=torch.float32) for s in range(4)]
    batch = join(frames)
    network = build_hipnn(settings, ("bead",), torch.Generator().manual_seed(0))
    candidates = {"beadsmith": (use_beadsmith(network), network), "plain torch twin": (use_twin(network), network)}
    candidates |= {f"hippynn {kernel}": use_peer(settings, kernel) for kernel in PEER_KERNELS}
    training = {name: training_step(call, parameters, batch) for name, (call, parameters) in candidates.items()}
    result = {"training step, 4 frames": take_turns(training)}
    for _, parameters in candidates.values():
        parameters.requires_grad_(False)
    forces = {name: force_call(call, frames[0]) for name, (call, _) in candidates.items()}
    return result | {"energy and forces, 1 frame": take_turns(forces)}


def main() -> None:
    """Measure all cases, print ratios and write them as CSV."""
    torch.set_num_threads(1)
    output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".csv"))
    rows = []
    for case, settings in CASES.items():
        for task, times in measure(settings).items():
            peer = min(value for name, value in times.items() if name.startswith("hippynn"))
            for name, value in times.items():
                ratio = f"{peer / value:.2f}"
                row = {"network": case, "task": task, "candidate": name, "ms": f"{value:.2f}"}
                rows.append(row | {"best_hippynn_over_this": ratio})
                print(*rows[-1].values(), sep=", ", flush=True)
    with output.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
