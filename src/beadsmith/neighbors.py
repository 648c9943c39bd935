"""Neighbour pairs of a batch: any cell, any cutoff, open or periodic, several systems at once.

vesin finds the pairs of one system; this module joins systems, sorts canonically (so that sums are reproducible bit
for bit) and adds what networks and priors ask for: both directions, half list and bond classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import vesin
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs
from beadsmith.errors import InputError

_MOST_SITES_FOR_ALL_PAIRS = 64
"""In open systems up to this size every site is compared with every other, in all systems at once."""

OTHER_MOLECULE, BOND, ANGLE, DIHEDRAL, SAME_MOLECULE = range(5)
"""Values of `Pairs.bond_class`: other molecule, 1-2, 1-3, 1-4, same molecule farther apart."""


def find_pairs(batch: Batch, cutoff: float) -> Pairs:
    """Return all directed pairs closer than the cutoff, sorted by first site, then second site, then shift.

    Periodic images are found for any cell and any cutoff, also beyond half the cell.

    Parameters
    ----------
    batch : Systems to search.
    cutoff : Largest distance [nm], positive.

    Raises
    ------
    InputError : the cutoff is not positive, or a position is not finite.
    """
    if not cutoff > 0.0:
        raise InputError(f"neighbour cutoff is {cutoff} nm, expected > 0")
    positions = batch.positions.detach().to("cpu", torch.float64).numpy()
    if not np.isfinite(positions).all():
        raise InputError("a position is not finite, so it has no neighbours")
    counts = np.bincount(batch.system_index.cpu().numpy(), minlength=batch.n_systems)
    cells = None if batch.cell is None else batch.cell.detach().to("cpu", torch.float64).numpy()
    starts = np.concatenate([[0], np.cumsum(counts)])
    if cells is None and counts.max() <= _MOST_SITES_FOR_ALL_PAIRS:
        first, second, shifts = _compare_all(positions, counts, cutoff)
    else:
        found = [
            _find_in_one_system(positions[starts[s] : starts[s + 1]], None if cells is None else cells[s], cutoff)
            for s in range(batch.n_systems)
        ]
        first = np.concatenate([i + start for (i, _, _), start in zip(found, starts, strict=False)])
        second = np.concatenate([j + start for (_, j, _), start in zip(found, starts, strict=False)])
        shifts = np.concatenate([shift for _, _, shift in found])
    half = np.flatnonzero((first < second) | ((first == second) & _is_positive(shifts)))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(first, minlength=batch.n_sites))])
    device = batch.positions.device
    pairs = Pairs(
        index=torch.from_numpy(np.stack([first, second])).to(device),
        row_offsets=torch.from_numpy(offsets).to(device),
        half=torch.from_numpy(half).to(device),
        shifts=torch.from_numpy(shifts).to(device, batch.positions.dtype),
        bond_class=torch.zeros(len(first), dtype=torch.int64, device=device),
        cutoff=float(cutoff),
    )
    if batch.n_sites == int(batch.molecule_index[-1]) + 1:
        return pairs
    return replace(pairs, bond_class=_classify(batch, pairs))


def pair_vectors(
    positions: Float[Tensor, "sites 3"],
    cell: Float[Tensor, "systems 3 3"] | None,
    system_index: Int[Tensor, "sites"],
    pairs: Pairs,
) -> Float[Tensor, "pairs 3"]:
    """Return ``r_j + shift · cell − r_i`` of each directed pair [nm], differentiable in positions and cell."""
    first, second = pairs.index[0], pairs.index[1]
    vectors = positions.index_select(0, second) - positions.index_select(0, first)
    if cell is None:
        return vectors
    if cell.shape[0] == 1:
        return vectors + pairs.shifts @ cell[0]
    return vectors + torch.einsum("pa,pab->pb", pairs.shifts, cell[system_index[first]])


def pairs_within(pairs: Pairs, vectors: Float[Tensor, "pairs 3"], cutoff: float) -> tuple[Pairs, Tensor]:
    """Return the pairs of a longer list (a Verlet-skin list) that are within the cutoff, and their positions in it."""
    kept = torch.nonzero((vectors.detach() ** 2).sum(1) < cutoff * cutoff).squeeze(1)
    first = pairs.index[0].index_select(0, kept)
    n_sites = pairs.row_offsets.shape[0] - 1
    counts = torch.bincount(first, minlength=n_sites)
    is_half = torch.zeros(pairs.n_pairs, dtype=torch.bool, device=kept.device)
    is_half[pairs.half] = True
    return (
        Pairs(
            index=pairs.index.index_select(1, kept),
            row_offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            half=torch.nonzero(is_half.index_select(0, kept)).squeeze(1),
            shifts=pairs.shifts.index_select(0, kept),
            bond_class=pairs.bond_class.index_select(0, kept),
            cutoff=float(cutoff),
        ),
        kept,
    )


@dataclass(frozen=True, kw_only=True)
class SkinList:
    """Pairs found a little beyond the cutoff, which stay complete while no site has moved far (Verlet, 1967)."""

    pairs: Pairs
    """Pairs up to cutoff + skin."""
    reference: Float[Tensor, "sites 3"]
    """Positions for which they were found [nm]."""
    cell: Float[Tensor, "systems 3 3"] | None
    """Cells for which they were found [nm]."""
    skin: float
    """Extra distance [nm]."""


def build_skin_list(batch: Batch, cutoff: float, skin: float) -> SkinList:
    """Find all pairs up to cutoff + skin; a cutoff of 0 (no pair term at all) gives an empty list.

    Raises
    ------
    InputError : the skin is not positive, or a position is not finite.
    """
    if not skin > 0.0:
        raise InputError(f"neighbour skin is {skin} nm, expected > 0")
    pairs = find_pairs(batch, cutoff + skin) if cutoff > 0.0 else _no_pairs(batch)
    return SkinList(pairs=pairs, reference=batch.positions.detach().clone(), cell=batch.cell, skin=float(skin))


def is_covering(skin_list: SkinList, batch: Batch) -> bool:
    """Tell whether the list still holds every pair within its cutoff: no site moved farther than half the skin.

    Two sites that each move by less than skin/2 cannot come closer by more than the skin. Positions that are not
    finite are never covered. A changed cell ends the list's life.
    """
    old, new = skin_list.cell, batch.cell
    if (old is None) != (new is None) or (
        old is not None and new is not None and old is not new and not old.equal(new)
    ):
        return False
    moved = ((batch.positions.detach() - skin_list.reference) ** 2).sum(1).max()
    # a thousandth is kept back for the rounding of float32 positions
    return bool(moved <= (0.499 * skin_list.skin) ** 2)


def _no_pairs(batch: Batch) -> Pairs:
    device = batch.positions.device
    none = torch.zeros(0, dtype=torch.int64, device=device)
    return Pairs(
        index=none.reshape(2, 0),
        row_offsets=torch.zeros(batch.n_sites + 1, dtype=torch.int64, device=device),
        half=none,
        shifts=torch.zeros(0, 3, dtype=batch.positions.dtype, device=device),
        bond_class=none,
        cutoff=0.0,
    )


def _find_in_one_system(
    points: np.ndarray, cell: np.ndarray | None, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    search = vesin.NeighborList(cutoff=float(cutoff), full_list=True, sorted=False, n_threads=1)
    first, second, shifts = search.compute(
        points=points, box=np.eye(3) if cell is None else cell, periodic=cell is not None, quantities="ijS"
    )
    first, second, shifts = first.astype(np.int64), second.astype(np.int64), shifts.astype(np.int64)
    # one integer key instead of a five-column lexsort: this runs at every rebuild of a neighbour list
    span = int(np.abs(shifts).max(initial=0)) * 2 + 1
    code = shifts + span // 2
    key = (((first * len(points) + second) * span + code[:, 0]) * span + code[:, 1]) * span + code[:, 2]
    order = np.argsort(key)
    return first[order], second[order], shifts[order]


def _compare_all(
    positions: Float[np.ndarray, "sites 3"], counts: Int[np.ndarray, "systems"], cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of all open systems at once, sorted."""
    partners = np.repeat(counts, counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    first = np.repeat(np.arange(len(positions)), partners)
    second = np.arange(partners.sum()) + np.repeat(starts - (np.cumsum(partners) - partners), partners)
    squares = ((positions[second] - positions[first]) ** 2).sum(1)
    kept = (squares < cutoff * cutoff) & (first != second)
    return first[kept], second[kept], np.zeros((int(kept.sum()), 3), dtype=np.int64)


def _is_positive(shifts: np.ndarray) -> np.ndarray:
    """Tell whether the first non-zero component of each shift is positive."""
    x, y, z = shifts.T
    return (x > 0) | ((x == 0) & (y > 0)) | ((x == 0) & (y == 0) & (z > 0))


def _classify(batch: Batch, pairs: Pairs) -> Tensor:
    """Return the bond class of each pair; only the nearest image of two sites counts as intramolecular."""
    first, second = pairs.index.cpu().numpy()
    molecule = batch.molecule_index.cpu().numpy()
    inside = np.flatnonzero((molecule[first] == molecule[second]) & (first != second))
    classes = np.zeros(pairs.n_pairs, dtype=np.int64)
    if len(inside) == 0:
        return torch.from_numpy(classes).to(pairs.index.device)
    vectors = pair_vectors(batch.positions.detach(), batch.cell, batch.system_index, pairs)
    distances = (vectors.cpu().double() ** 2).sum(1).numpy()[inside]
    keys = first[inside] * batch.n_sites + second[inside]
    order = np.lexsort((distances, keys))
    keys, nearest = np.unique(keys[order], return_index=True)
    known, separations = _find_separations(batch.bonds.cpu().numpy(), batch.n_sites)
    place = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
    is_known = known[place] == keys if len(known) else np.zeros(len(keys), dtype=bool)
    found = separations[place] if len(known) else np.zeros(len(keys), dtype=np.int64)
    classes[inside[order[nearest]]] = np.where(is_known, found, SAME_MOLECULE)
    return torch.from_numpy(classes).to(pairs.index.device)


def _find_separations(
    bonds: Int[np.ndarray, "bonds 2"], n_sites: int
) -> tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]:
    """Return the pairs of sites one, two and three bonds apart as sorted keys a · n_sites + b, and their separations.

    Walks along bonds grow by one bond at a time; the shortest walk between two sites counts.
    """
    ends = np.concatenate([bonds, bonds[:, ::-1]]).astype(np.int64)
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(ends[:, 0], minlength=n_sites))])
    walks = [ends]
    for _ in (ANGLE, DIHEDRAL):
        start, last = walks[-1].T
        counts = offsets[last + 1] - offsets[last]
        step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        walks.append(np.stack([np.repeat(start, counts), ends[np.repeat(offsets[last], counts) + step, 1]], axis=1))
    keys = np.concatenate([walk[:, 0] * n_sites + walk[:, 1] for walk in walks])
    separations = np.repeat(np.array([BOND, ANGLE, DIHEDRAL]), [len(walk) for walk in walks])
    # np.unique returns first places, so that the shortest of several walks counts
    known, place = np.unique(keys, return_index=True)
    return known, separations[place]
