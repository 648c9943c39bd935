"""The compiled sweeps of MACE as torch functions that can be differentiated once with respect to the parameters.

Pair vectors are data: a training step runs the forward sweep and the explicit adjoint sweep as two ordinary functions,
so that one ordinary backward pass through both gives the gradient of a loss on energies and forces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from beadsmith.errors import InputError
from beadsmith.kernels import directions, tensor_messages, tensor_training
from beadsmith.kernels.rows import find_offsets
from beadsmith.kernels.threads import run_blocks, split_rows
from beadsmith.kernels.vectors import VECTOR_BYTES, make_zeros


@dataclass(frozen=True, eq=False)
class TensorPaths:
    """How the features of a neighbour and the direction to it are coupled."""

    degrees: tuple[tuple[int, int, int], ...]
    """l1 of the feature, l2 of the harmonic and l3 of the result, for each path; none exceeds 3."""
    couplings: tuple[Float[np.ndarray, "m1 m2 m3"], ...]
    """Coefficients C of each path."""

    @property
    def n_results(self) -> int:
        """Number of components of the results of all paths together."""
        return sum(2 * l3 + 1 for _, _, l3 in self.degrees)


@dataclass(frozen=True, eq=False)
class PairRows:
    """The pairs of a batch as rows of neighbours, one row a site; arrays share memory with the tensors on a CPU."""

    offsets: Int[np.ndarray, "rows"]
    """Start of each site's row; has n_sites + 1 entries."""
    second: Int[np.ndarray, "pairs"]
    """The neighbour of each pair."""
    vectors: Float[np.ndarray, "pairs 3"]
    """Vector to the neighbour [nm]."""
    cutoff: float
    """Pairs at and beyond it do not count [nm]."""


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Where the neighbours of all sites are, for one grid of radial knots; see `beadsmith.kernels.directions`."""

    rows: PairRows
    blocks: tuple[tuple[int, int], ...]
    """Range of sites of each thread."""
    entries: tuple[np.ndarray, ...]
    """Start and number of entries of each site; pair, neighbour and first row of the table of each entry."""
    n_table_rows: int
    """Rows of the radial tables of all classes together."""
    unit: Float[np.ndarray, "4 entries"]
    """n and 1/r [1/nm]."""
    weights: Float[np.ndarray, "entries 8"]
    """Weights of four knots, and their slopes."""
    tangents: Float[np.ndarray, "2 3 entries"]
    """Directions at right angles to n."""
    angular: Float[np.ndarray, "3 16 entries"]
    """Harmonics, and their rates when n moves along a tangent."""


def build_paths(
    degrees: Sequence[tuple[int, int, int]], couplings: Sequence[Float[np.ndarray, "m1 m2 m3"]]
) -> TensorPaths:
    """Return paths for the sweeps.

    Raises
    ------
    InputError : a degree exceeds 3, or coefficients have another shape than their degrees say.
    """
    for path, coupling in zip(degrees, couplings, strict=True):
        if max(path) > 3 or coupling.shape != tuple(2 * degree + 1 for degree in path):
            raise InputError(f"path {tuple(path)} has coefficients of shape {coupling.shape}, expected degrees up to 3")
    return TensorPaths(tuple((l1, l2, l3) for l1, l2, l3 in degrees), tuple(couplings))


def build_pair_rows(
    pair_index: Int[Tensor, "2 pairs"], pair_vectors: Float[Tensor, "pairs 3"], *, n_sites: int, cutoff: float
) -> PairRows:
    """Return the rows of directed pairs.

    Raises
    ------
    InputError : the pairs are not sorted by first site, or name a site that does not exist.
    """
    first, second = (part.contiguous().numpy() for part in pair_index)
    offsets, is_valid = find_offsets(first, second, n_sites)
    if not is_valid:
        raise InputError(
            "neighbour pairs are not sorted by first site, or name a site that does not exist",
            fix="Take them from beadsmith.neighbors.find_pairs, or sort them.",
        )
    return PairRows(offsets, second, pair_vectors.detach().contiguous().numpy(), cutoff)


def build_neighbourhoods(
    rows: PairRows, classes: Int[Tensor, "pairs"] | None, tables: Float[Tensor, "classes knots columns"]
) -> Neighbourhoods:
    """Return where the neighbours are, for tables of a given shape; serves all layers with such tables.

    Parameters
    ----------
    rows : Neighbours.
    classes : Which table each pair uses; the first one if None.
    tables : Coefficients as `beadsmith.networks.radial_table.RadialTable.tabulate` makes them, one table a class.

    Raises
    ------
    InputError : a pair has a class without a table.
    """
    n_classes, n_knots, _ = tables.shape
    if classes is not None and len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < n_classes:
        raise InputError(f"pairs have classes up to {int(classes.max())}, but there are {n_classes} radial tables")
    numbers = np.zeros(len(rows.second), np.int64) if classes is None else classes.contiguous().numpy()
    real = rows.vectors.dtype
    starts = directions.find_starts(rows.offsets)
    n_sites, n_entries, n_intervals = len(starts) - 1, int(starts[-1]), n_knots - 2
    found = Neighbourhoods(
        rows,
        tuple(split_rows(rows.offsets)),
        (starts, np.zeros(n_sites, np.int64), *(np.zeros(n_entries, np.int64) for _ in range(3))),
        n_classes * n_knots,
        make_zeros((4, n_entries), real),
        make_zeros((n_entries, 8), real),
        make_zeros((2, 3, n_entries), real),
        make_zeros((3, directions.N_HARMONICS, n_entries), real),
    )
    table = (real.type(rows.cutoff), real.type(rows.cutoff / n_intervals), n_intervals, n_knots)
    pairs = (rows.offsets, rows.vectors, rows.second, numbers)

    def fill(first: int, last: int) -> None:
        directions.load_rows_(first, last, *pairs, table, found.entries, found.unit, found.weights)
        start, stop = starts[first], starts[last]
        directions.fill_harmonics_(start, stop, found.unit, found.angular[0])
        directions.fill_tangents_(start, stop, found.unit, found.tangents)
        for a in range(2):
            directions.fill_rates_(start, stop, found.unit, found.tangents[a], found.angular[1 + a])

    run_blocks(fill, list(found.blocks))
    return found


def sum_tensor_messages(
    neighbourhoods: Neighbourhoods,
    paths: TensorPaths,
    tables: Float[Tensor, "classes knots columns"],
    features: Float[Tensor, "sites components channels"],
) -> Float[Tensor, "sites results channels"]:
    """Return A[i,(p,m3),k] = Σ_j R_pk(r_ij) Σ_{m1 m2} C_{m1 m2 m3} Y_{l2 m2}(n_ij) h[j,l1 m1,k], path after path.

    Parameters
    ----------
    neighbourhoods, paths : Neighbours, and how they couple.
    tables : Spline coefficients of R, columns by path and channel.
    features : h, all degrees up to the highest l1, one after the other.
    """
    return _SumMessages.apply(neighbourhoods, paths, tables, features)


def tensor_message_adjoint(
    neighbourhoods: Neighbourhoods, paths: TensorPaths, tables: Tensor, features: Tensor, adjoint: Tensor
) -> tuple[Float[Tensor, "pairs 3"], Float[Tensor, "sites components channels"]]:
    """Return the derivatives with respect to the pair vectors and to h from the derivative `adjoint` by A."""
    return _MessageAdjoint.apply(neighbourhoods, paths, tables, features, adjoint, True)


def tensor_message_gradient(
    neighbourhoods: Neighbourhoods, paths: TensorPaths, tables: Tensor, features: Tensor, adjoint: Tensor
) -> Float[Tensor, "pairs 3"]:
    """Return the derivative with respect to the pair vectors alone: enough where h does not depend on them."""
    return _MessageAdjoint.apply(neighbourhoods, paths, tables, features, adjoint, False)[0]


@lru_cache(maxsize=64)
def _plan(paths: TensorPaths, n_channels: int, real: np.dtype[Any]) -> tuple[np.ndarray, ...]:
    """Return the `plan` of `beadsmith.kernels.tensor_messages.sum_messages_`."""
    numbers: list[tuple[int, ...]] = []
    firsts, places, values, after = [0], [], [], 0
    for p, ((l1, l2, l3), coupling) in enumerate(zip(paths.degrees, paths.couplings, strict=True)):
        numbers.append((2 * l1 + 1, 2 * l3 + 1, p * n_channels, l1 * l1, after, len(firsts) - 1))
        after += 2 * l3 + 1
        for row in coupling.transpose(0, 2, 1).reshape(-1, 2 * l2 + 1):
            # what is left of zeros after rounding
            found = np.flatnonzero(np.abs(row) > 1e-12)
            places.extend((l2 * l2 + found).tolist())
            values.extend(row[found].tolist())
            firsts.append(len(places))
    return np.array(numbers), np.array(firsts), np.array(places, np.int64), np.array(values, real)


class _Sweep:
    """What all sweeps take: arrays whose channels fill whole vectors."""

    def __init__(self, neighbourhoods: Neighbourhoods, paths: TensorPaths, tables: Tensor, features: Tensor) -> None:
        self.neighbourhoods = neighbourhoods
        self.n_channels, n_paths = features.shape[2], len(paths.degrees)
        lanes = VECTOR_BYTES // features.element_size()
        self.missing = -self.n_channels % lanes
        self.table_shape = (*tables.shape[:2], n_paths, self.n_channels + self.missing)
        self.table = self.pad(tables.unflatten(2, (n_paths, self.n_channels))).reshape(neighbourhoods.n_table_rows, -1)
        self.features = self.pad(features)
        self.plan = _plan(paths, self.n_channels + self.missing, self.features.dtype)
        starts, counts, _, neighbours, knots = neighbourhoods.entries
        self.rows = (starts, counts, neighbours, knots)

    def pad(self, tensor: Tensor) -> np.ndarray:
        return functional.pad(tensor.detach(), (0, self.missing)).numpy() if self.missing else _array(tensor)

    def cut(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array)[..., : self.n_channels].contiguous()

    def cut_table(self, array: np.ndarray) -> Tensor:
        return self.cut(array.reshape(self.table_shape)).flatten(2)

    def run(self, kernel: Any, *arguments: Any) -> None:
        """Run a kernel on all blocks; an argument that is a list has one entry for each."""
        blocks = list(self.neighbourhoods.blocks)
        number = {block: b for b, block in enumerate(blocks)}

        def sweep(first: int, last: int) -> None:
            own = (a[number[first, last]] if isinstance(a, list) else a for a in arguments)
            kernel(first, last, self.plan, self.rows, *own)

        run_blocks(sweep, blocks)

    def make_sums(self, like: np.ndarray) -> list[np.ndarray]:
        """Return zeros for each block, to be added afterwards."""
        return [make_zeros(like.shape, like.dtype) for _ in self.neighbourhoods.blocks]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _add(parts: list[np.ndarray]) -> np.ndarray:
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


class _SumMessages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, where: Neighbourhoods, paths: TensorPaths, tables: Tensor, features: Tensor) -> Tensor:
        ctx.where, ctx.paths = where, paths
        ctx.save_for_backward(tables, features)
        sweep = _Sweep(where, paths, tables, features)
        sums = make_zeros((len(features), paths.n_results, sweep.features.shape[2]), sweep.features.dtype)
        common = (where.weights, where.angular[0], sweep.table, sweep.features)
        sweep.run(tensor_messages.sum_messages_, *common, sums)
        return sweep.cut(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        tables, features = ctx.saved_tensors
        sweep = _Sweep(ctx.where, ctx.paths, tables, features)
        on_table, on_features = sweep.make_sums(sweep.table), sweep.make_sums(sweep.features)
        common = (ctx.where.weights, ctx.where.angular[0], sweep.table, sweep.features, sweep.pad(adjoint))
        sweep.run(tensor_training.spread_messages_, *common, list(zip(on_table, on_features, strict=True)))
        return None, None, sweep.cut_table(_add(on_table)), sweep.cut(_add(on_features))


class _MessageAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        where: Neighbourhoods,
        paths: TensorPaths,
        tables: Tensor,
        features: Tensor,
        adjoint: Tensor,
        with_features: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.where, ctx.paths = where, paths
        ctx.save_for_backward(tables, features, adjoint)
        sweep = _Sweep(where, paths, tables, features)
        slopes = make_zeros((len(where.weights), 4), where.weights.dtype)
        gradient = np.zeros(where.rows.vectors.shape, where.weights.dtype)
        sums = sweep.make_sums(sweep.features)
        common = (where.weights, where.angular, sweep.table, sweep.features, sweep.pad(adjoint))
        sweep.run(tensor_messages.message_gradient_, *common, [(slopes, own, with_features) for own in sums])

        def write(first: int, last: int) -> None:
            place = (where.entries[:3], where.unit, where.tangents)
            directions.write_gradient_(first, last, *place, slopes, gradient)

        run_blocks(write, list(where.blocks))
        return torch.from_numpy(gradient), sweep.cut(_add(sums))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direction: Tensor, bar: Tensor) -> tuple[Tensor | None, ...]:
        tables, features, adjoint = ctx.saved_tensors
        where = ctx.where
        sweep = _Sweep(where, ctx.paths, tables, features)
        weights, angular, move = (
            where.weights.copy(),
            np.empty_like(where.angular[:2]),
            np.empty_like(where.tangents[0]),
        )
        vectors, starts = _array(direction), where.entries[0]

        def load(first: int, last: int) -> None:
            directions.load_moves_(first, last, where.entries[:3], vectors, where.unit, weights, move)
            start, stop = starts[first], starts[last]
            directions.fill_rates_(start, stop, where.unit, move, angular[1])
            angular[0, :, start:stop] = where.angular[0, :, start:stop]

        run_blocks(load, list(where.blocks))
        adjoints = sweep.pad(adjoint)
        on_table, on_features = sweep.make_sums(sweep.table), sweep.make_sums(sweep.features)
        on_adjoint = make_zeros(adjoints.shape, adjoints.dtype)
        results = [(table, own, on_adjoint) for table, own in zip(on_table, on_features, strict=True)]
        common = (weights, angular, sweep.table, (sweep.features, sweep.pad(bar)), adjoints)
        sweep.run(tensor_training.move_messages_, *common, results)
        return None, None, sweep.cut_table(_add(on_table)), sweep.cut(_add(on_features)), sweep.cut(on_adjoint), None
