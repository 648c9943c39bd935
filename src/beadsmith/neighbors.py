"""Neighbour pairs of a batch: any cell, any cutoff, open or periodic, several systems at once.

Lists are sorted canonically, so that sums are reproducible bit for bit, and hold what networks and priors ask for: both
directions, half list and bond classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs
from beadsmith.errors import InputError
from beadsmith.kernels.neighbor_search import classify_pairs, search_pairs
from beadsmith.kernels.pair_sums import as_array, sum_vectors

OTHER_MOLECULE, BOND, ANGLE, DIHEDRAL, SAME_MOLECULE = range(5)
"""Values of `Pairs.bond_class`: other molecule, 1-2, 1-3, 1-4, same molecule farther apart."""

MOST_SITES_FOR_ALL_PAIRS = 64
"""Open systems up to this size keep all their pairs for ever, so that nothing is searched during a simulation."""

_EVERYWHERE = 1e6
"""A distance beyond any open system of that size [nm]."""


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
    positions, system_index = _to_array(batch.positions, torch.float64), _to_array(batch.system_index)
    if not np.isfinite(positions).all():
        raise InputError("a position is not finite, so it has no neighbours")
    starts = np.searchsorted(system_index, np.arange(batch.n_systems + 1))
    cells = np.zeros((0, 3, 3)) if batch.cell is None else _to_array(batch.cell, torch.float64)
    like = torch.empty(0, dtype=batch.positions.dtype).numpy()
    index, offsets, half, shifts = search_pairs(positions, starts, cells, float(cutoff), like)
    molecule_index = _to_array(batch.molecule_index)
    if batch.n_sites == int(molecule_index[-1]) + 1:
        bond_class = np.zeros(index.shape[1], dtype=np.int64)
    else:
        graph = (system_index, molecule_index, _to_array(batch.bonds))
        bond_class = classify_pairs(positions, cells, *graph, (index, offsets, shifts))
    device = batch.positions.device
    return Pairs(
        index=torch.from_numpy(index).to(device),
        row_offsets=torch.from_numpy(offsets).to(device),
        half=torch.from_numpy(half).to(device),
        shifts=torch.from_numpy(shifts).to(device),
        bond_class=torch.from_numpy(bond_class).to(device),
        cutoff=float(cutoff),
    )


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


def find_vectors(batch: Batch, pairs: Pairs) -> Float[Tensor, "pairs 3"]:
    """Return what `pair_vectors` returns, without a graph; on a CPU from a compiled sweep."""
    positions = batch.positions.detach()
    if positions.device.type != "cpu":
        return pair_vectors(positions, batch.cell, batch.system_index, pairs)
    cell = positions.new_zeros(0, 3, 3) if batch.cell is None else batch.cell
    sites = (as_array(positions), as_array(batch.system_index), as_array(cell))
    return torch.from_numpy(sum_vectors(*sites, as_array(pairs.index), as_array(pairs.shifts)))


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
    """Pairs up to cutoff + skin, or all pairs of a permanent list."""
    reference: Float[Tensor, "sites 3"]
    """Positions for which they were found [nm]."""
    cell: Float[Tensor, "systems 3 3"] | None
    """Cells for which they were found [nm]."""
    skin: float
    """Extra distance [nm]."""
    is_permanent: bool = False
    """Whether the pairs are complete wherever the sites are."""
    worn: float = 0.0
    """What changes of the cell have used up of the skin [nm]."""


def build_skin_list(batch: Batch, cutoff: float, skin: float) -> SkinList:
    """Find all pairs up to cutoff + skin; a cutoff of 0 (no pair term at all) gives an empty list.

    Small open systems, such as replicas of one molecule, get a permanent list of all their pairs.

    Raises
    ------
    InputError : the skin is not positive, or a position is not finite.
    """
    if not skin > 0.0:
        raise InputError(f"neighbour skin is {skin} nm, expected > 0")
    is_small = batch.cell is None and batch.n_sites <= MOST_SITES_FOR_ALL_PAIRS * batch.n_systems
    is_small = is_small and int(torch.bincount(batch.system_index).max()) <= MOST_SITES_FOR_ALL_PAIRS
    pairs = find_pairs(batch, _EVERYWHERE if is_small else cutoff + skin) if cutoff > 0.0 else _no_pairs(batch)
    return SkinList(
        pairs=pairs,
        reference=batch.positions.detach().clone(),
        cell=batch.cell,
        skin=float(skin),
        is_permanent=is_small or cutoff == 0.0,
    )


def renew_skin_list(skin_list: SkinList, batch: Batch, cutoff: float) -> SkinList:
    """Return a list for the same systems at new positions, which keeps the pairs that are complete for ever."""
    if skin_list.is_permanent:
        return replace(skin_list, reference=batch.positions.detach().clone(), cell=batch.cell, worn=0.0)
    return build_skin_list(batch, cutoff, skin_list.skin)


def strain_skin_list(
    skin_list: SkinList,
    cell: Float[Tensor, "systems 3 3"],
    shifts: Float[Tensor, "sites 3"],
    *,
    reach: float,
    strain: float,
) -> SkinList:
    """Return the list for other cells to which sites and reference positions move by the same shifts.

    When molecules move rigidly with the strain of their centres, the vector between two sites changes by the strain of
    that between the centres, which is longer by no more than the size of both molecules and the skin. Pairs that are
    not in the list thus come closer by strain × (cutoff + 2 skin + 2 radii) at most, which wears the skin.

    Parameters
    ----------
    skin_list : Pairs and reference positions.
    cell : Cells after the change [nm].
    shifts : Displacement of each site by the change [nm].
    reach : Cutoff of the force field plus the diameter of the largest molecule [nm].
    strain : Largest relative change of a length.
    """
    return replace(
        skin_list,
        reference=skin_list.reference + shifts,
        cell=cell,
        worn=skin_list.worn + strain * (reach + 2.0 * skin_list.skin),
    )


def is_covering(skin_list: SkinList, batch: Batch) -> bool:
    """Tell whether the list still holds every pair within its cutoff: no site moved farther than half the skin.

    Two sites that each move by less than skin/2 cannot come closer by more than the skin. Positions that are not
    finite are never covered. A changed cell ends the list's life, unless the list was strained with it.
    """
    old, new = skin_list.cell, batch.cell
    if (old is None) != (new is None) or (
        old is not None and new is not None and old is not new and not old.equal(new)
    ):
        return False
    moved = ((batch.positions.detach() - skin_list.reference) ** 2).sum(1).max()
    # a thousandth is kept back for the rounding of float32 positions
    left = 0.499 * skin_list.skin - 0.5 * skin_list.worn
    return left > 0.0 and bool(moved <= left**2)


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


def _to_array(tensor: Tensor, dtype: torch.dtype | None = None) -> np.ndarray:
    return tensor.detach().to("cpu", dtype).contiguous().numpy()
