"""Neighbour lists of fixed shape, found on the device that simulates: every site has room for the same number of pairs.

A captured CUDA graph replays the same kernels on the same memory, and asking how many pairs were found would make the
host wait. So lists are padded, and what did not fit is only counted: whoever reads the counts later repeats the steps
with more room. The readable twin is `beadsmith.neighbors.find_pairs`.
"""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs
from beadsmith.errors import InputError
from beadsmith.neighbors import ANGLE, BOND, DIHEDRAL, MOST_SITES_FOR_ALL_PAIRS, SAME_MOLECULE


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What a search needs beside positions; while steps are replayed only the cells may change, in their places."""

    n_replicas: int
    """Number of replicas."""
    n_sites: int
    """Number of sites of one replica."""
    cell: Float[Tensor, "replicas 3 3"] | None
    """Cell vectors as rows [nm]; None for open systems."""
    inverse: Float[Tensor, "replicas 3 3"] | None
    """Inverse of the cells [1/nm]."""
    reach: float
    """Pairs up to this distance are kept [nm]; infinite where all pairs are."""
    capacity: int
    """Pairs that each site has room for."""
    images: Float[Tensor, "images 3"] | None
    """Cell shifts to try; None if the nearest image is the only one within reach."""
    grid: tuple[int, int, int] | None
    """Number of search boxes along each cell vector; None compares every site with every other."""
    box_capacity: int
    """Sites that each search box has room for."""
    boxes_around: Int[Tensor, "boxes 27"] | None
    """Each search box and those that touch it."""
    bond_class: Int[Tensor, "sites sites"] | None
    """Relation of two sites of one replica; None if every site is a molecule."""

    @property
    def is_permanent(self) -> bool:
        """Whether one search serves for ever."""
        return math.isinf(self.reach)


@dataclass(frozen=True, kw_only=True)
class PaddedPairs:
    """Directed pairs, `capacity` a site; the places that are not used point from a site to itself."""

    second: Int[Tensor, "pairs"]
    """Second site of each pair, numbered through all replicas; the first one is the pair's place over `capacity`."""
    shifts: Float[Tensor, "pairs 3"]
    """Integer cell shifts of the second site."""
    bond_class: Int[Tensor, "pairs"]
    """Relation of the two sites, as in `Pairs`."""
    is_used: Bool[Tensor, "pairs"]
    """Whether a pair is one."""
    most_pairs: Int[Tensor, ""]
    """Largest number of pairs of a site; beyond `capacity` some are missing."""
    most_in_box: Int[Tensor, ""]
    """Largest number of sites in a search box; beyond `box_capacity` some are missing."""


def plan_search(batch: Batch, cutoff: float, skin: float) -> SearchPlan:
    """Return a plan with room for the pairs of the given positions and a fifth more.

    Parameters
    ----------
    batch : Replicas of one system.
    cutoff : Cutoff of the force field [nm]; 0 if it has no pair term.
    skin : Extra distance [nm].

    Raises
    ------
    InputError : the cutoff is negative, or the skin not positive.
    """
    if not (cutoff >= 0.0 and skin > 0.0):
        raise InputError(f"cutoff is {cutoff} nm and skin {skin} nm, expected >= 0 and > 0")
    n_sites = batch.n_sites // batch.n_systems
    cell, reach = batch.cell, cutoff + skin
    inverse, images, grid, around = None, None, None, None
    if cell is None:
        reach = math.inf if n_sites <= MOST_SITES_FOR_ALL_PAIRS else reach
    else:
        inverse = torch.linalg.inv(cell.double())
        # distance between opposite faces, the smallest of all replicas
        widths = (1.0 / inverse.norm(dim=1)).amin(dim=0).tolist()
        inverse = inverse.to(cell.dtype)
        if 2.0 * reach > min(widths):
            spans = [range(-n, n + 1) for n in (int(reach / width) + 1 for width in widths)]
            images = torch.tensor(list(itertools.product(*spans))).to(cell)
        counts = [int(width / reach) for width in widths]
        # fewer than four boxes in a row: all boxes touch, or nearly all
        if min(counts) >= 4:
            grid = (counts[0], counts[1], counts[2])
            around = _list_touching_boxes(grid).to(cell.device)
    plan = SearchPlan(
        n_replicas=batch.n_systems,
        n_sites=n_sites,
        cell=cell,
        inverse=inverse,
        reach=reach,
        capacity=max(1, n_sites - 1) if math.isinf(reach) else 1,
        images=images,
        grid=grid,
        box_capacity=1,
        boxes_around=around,
        bond_class=_find_classes(batch, n_sites),
    )
    if plan.is_permanent:
        return plan
    # the sites of a box are counted right however little room it has, the pairs only when all sites have room
    in_boxes = search_pairs(plan, batch.positions) if grid else None
    plan = plan if in_boxes is None else make_room(plan, in_boxes)
    return make_room(plan, search_pairs(plan, batch.positions))


def serves_cells(plan: SearchPlan, cell: Float[Tensor, "replicas 3 3"]) -> bool:
    """Tell whether a plan finds all pairs in other cells; waits for the device.

    It does unless one is so narrow that it asks for more images, or for fewer search boxes.
    """
    widths = (1.0 / torch.linalg.inv(cell.double()).norm(dim=1)).amin(dim=0).tolist()
    if plan.grid is not None and any(int(w / plan.reach) < n for w, n in zip(widths, plan.grid, strict=True)):
        return False
    if plan.images is None:
        return 2.0 * plan.reach <= min(widths)
    spans = plan.images.abs().amax(dim=0).tolist()
    return all(int(plan.reach / w) + 1 <= n for w, n in zip(widths, spans, strict=True))


def make_room(plan: SearchPlan, found: PaddedPairs) -> SearchPlan:
    """Return the plan with room for a fifth more than was found."""

    def roomy(count: Tensor) -> int:
        return 8 * math.ceil((1.2 * int(count) + 4) / 8)

    return replace(
        plan,
        capacity=max(plan.capacity, roomy(found.most_pairs)),
        box_capacity=max(plan.box_capacity, roomy(found.most_in_box)) if plan.grid else plan.box_capacity,
    )


def search_pairs(plan: SearchPlan, positions: Float[Tensor, "sites 3"]) -> PaddedPairs:
    """Return all pairs within reach, as far as there is room; no shape depends on a position.

    Parameters
    ----------
    plan : What to look for.
    positions : Sites of all replicas [nm]; they may lie outside their cell.
    """
    n_replicas, n_sites, capacity = plan.n_replicas, plan.n_sites, plan.capacity
    points = positions.view(n_replicas, n_sites, 3)
    base = torch.zeros_like(points)
    if plan.cell is not None and plan.inverse is not None:
        base = torch.floor(points @ plan.inverse)
        points = points - base @ plan.cell
    site = torch.arange(n_sites, device=points.device)
    if plan.grid is None:
        partner, is_partner = site.expand(n_replicas, n_sites, n_sites), None
        most_in_box = torch.zeros((), dtype=torch.int64, device=points.device)
    else:
        partner, is_partner, most_in_box = _look_around(plan, points)
    vectors = _pick(points, partner) - points[:, :, None]
    shifts = torch.zeros_like(vectors)
    is_nearest = None
    if plan.images is not None and plan.cell is not None:
        partner = partner.repeat_interleave(len(plan.images), dim=2)
        vectors = vectors[:, :, :, None] + (plan.images @ plan.cell)[:, None, None]
        closest = (vectors**2).sum(4).argmin(3, keepdim=True)
        is_nearest = (closest == torch.arange(len(plan.images), device=points.device)).flatten(2)
        shifts = plan.images.expand(n_replicas, n_sites, n_sites, -1, 3).flatten(2, 3)
        vectors = vectors.flatten(2, 3)
    elif plan.cell is not None and plan.inverse is not None:
        # exact within half the smallest width, for any cell
        shifts = -torch.round(vectors @ plan.inverse[:, None])
        vectors = vectors + shifts @ plan.cell[:, None]
    is_self = (partner == site[:, None]) & (shifts == 0.0).all(3)
    is_found = ((vectors**2).sum(3) < plan.reach**2) & ~is_self
    if is_partner is not None:
        is_found = is_found & is_partner
    rank = is_found.cumsum(2)
    # what is no pair, or finds no room, goes to one more place that is thrown away
    place = torch.where(is_found & (rank <= capacity), rank - 1, capacity)
    number = torch.arange(place.shape[2], device=points.device).expand_as(place)
    chosen = place.new_zeros(n_replicas, n_sites, capacity + 1).scatter_(2, place, number)[:, :, :capacity]
    is_used = torch.arange(capacity, device=points.device) < rank[:, :, -1:]
    second = torch.where(is_used, partner.gather(2, chosen), site[:, None])
    picked = shifts.gather(2, chosen[..., None].expand(-1, -1, -1, 3))
    picked = torch.where(is_used[..., None], picked + base[:, :, None] - _pick(base, second), 0.0)
    first_site = n_sites * torch.arange(n_replicas, device=points.device)
    classes = torch.zeros_like(second)
    if plan.bond_class is not None:
        classes = plan.bond_class[site[:, None], second].long()
        if is_nearest is not None:
            classes = classes * is_nearest.gather(2, chosen)
    return PaddedPairs(
        second=(second + first_site[:, None, None]).flatten(),
        shifts=picked.reshape(-1, 3),
        bond_class=(classes * is_used).flatten(),
        is_used=is_used.flatten(),
        most_pairs=rank[:, :, -1].amax(),
        most_in_box=most_in_box,
    )


def has_room(plan: SearchPlan, found: PaddedPairs) -> bool:
    """Tell whether all pairs found their place; waits for the device."""
    return int(found.most_pairs) <= plan.capacity and int(found.most_in_box) <= plan.box_capacity


def list_pairs(plan: SearchPlan, positions: Float[Tensor, "sites 3"]) -> Pairs:
    """Return all pairs within reach as an ordinary list, found on the device; waits for it."""
    while not has_room(plan, found := search_pairs(plan, positions)):
        plan = make_room(plan, found)
    return drop_padding(plan, found)


def drop_padding(plan: SearchPlan, found: PaddedPairs) -> Pairs:
    """Return the pairs as an ordinary list; waits for the device."""
    used = torch.nonzero(found.is_used).squeeze(1)
    first, second = used // plan.capacity, found.second[used]
    shifts = found.shifts[used]
    x, y, z = shifts.unbind(1)
    is_positive = (x > 0) | ((x == 0) & (y > 0)) | ((x == 0) & (y == 0) & (z > 0))
    counts = torch.bincount(first, minlength=plan.n_replicas * plan.n_sites)
    return Pairs(
        index=torch.stack([first, second]),
        row_offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        half=torch.nonzero((first < second) | ((first == second) & is_positive)).squeeze(1),
        shifts=shifts,
        bond_class=found.bond_class[used],
        cutoff=plan.reach,
    )


def _pick(values: Tensor, index: Tensor) -> Tensor:
    """Return values (replicas, sites, 3) at an index (replicas, sites, any)."""
    n_replicas = len(values)
    flat = index.reshape(n_replicas, -1, 1).expand(-1, -1, 3)
    return values.gather(1, flat).view(*index.shape, 3)


def _look_around(plan: SearchPlan, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sites in the 27 boxes around each site, which of the places are used, and the fullest box's sites."""
    assert plan.grid is not None
    assert plan.inverse is not None
    assert plan.boxes_around is not None
    n_replicas, n_sites, room = plan.n_replicas, plan.n_sites, plan.box_capacity
    n_boxes = len(plan.boxes_around)
    box = torch.zeros(n_replicas, n_sites, dtype=torch.int64, device=points.device)
    fractions = points @ plan.inverse
    for axis, count in enumerate(plan.grid):
        box = box * count + (fractions[:, :, axis] * count).long().clamp(0, count - 1)
    order = torch.argsort(box, dim=1, stable=True)
    ordered = box.gather(1, order)
    counts = box.new_zeros(n_replicas, n_boxes).scatter_add_(1, box, torch.ones_like(box))
    starts = counts.cumsum(1) - counts
    rank = torch.arange(n_sites, device=points.device) - starts.gather(1, ordered)
    place = torch.where(rank < room, ordered * room + rank, n_boxes * room)
    members = box.new_full((n_replicas, n_boxes * room + 1), -1).scatter_(1, place, order)[:, :-1]
    near = plan.boxes_around[box].reshape(n_replicas, -1, 1).expand(-1, -1, room)
    found = members.view(n_replicas, n_boxes, room).gather(1, near).view(n_replicas, n_sites, 27 * room)
    return found.clamp(min=0), found >= 0, counts.amax()


def _list_touching_boxes(grid: tuple[int, int, int]) -> Int[Tensor, "boxes 27"]:
    places = np.stack(np.unravel_index(np.arange(math.prod(grid)), grid), axis=1)
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    around = (places[:, None] + steps) % np.array(grid)
    return torch.from_numpy(np.ravel_multi_index(tuple(np.moveaxis(around, 2, 0)), grid))


def _find_classes(batch: Batch, n_sites: int) -> Tensor | None:
    """Return the relation of all sites of one replica, or None if each is a molecule of its own."""
    molecule = batch.molecule_index[:n_sites].cpu().numpy()
    if len(np.unique(molecule)) == n_sites:
        return None
    bonds = batch.bonds.cpu().numpy()
    bonds = bonds[(bonds < n_sites).all(1)]
    classes = np.zeros((n_sites, n_sites), dtype=np.int8)
    for number in np.unique(molecule):
        sites = np.flatnonzero(molecule == number)
        ends = np.searchsorted(sites, bonds[molecule[bonds[:, 0]] == number])
        one = np.zeros((len(sites), len(sites)), dtype=bool)
        one[ends[:, 0], ends[:, 1]] = one[ends[:, 1], ends[:, 0]] = True
        two = one @ one
        # the shortest way counts
        separation = np.select([one, two, two @ one], [BOND, ANGLE, DIHEDRAL], SAME_MOLECULE)
        np.fill_diagonal(separation, 0)
        classes[np.ix_(sites, sites)] = separation
    return torch.from_numpy(classes).to(batch.positions.device)
