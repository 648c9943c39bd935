"""Judge from the numbers themselves whether lengths, forces and velocities are in the units they are said to be in.

Forces: for every field v of displacements, a canonical distribution obeys <F . v> = -kT <div v>. With fields that
stretch molecules, or push neighbouring molecules apart, -<F . v>/(kT <div v>) is the factor by which forces are wrong,
1 if they are right, without any knowledge of the interactions. Fields that move rigid groups as a whole hold for
constrained runs too.
Source: Stein's identity; for pairs it is the Yvon-Born-Green equation (Mullinax and Noid, J. Chem. Phys. 133, 124107
(2010), doi 10.1063/1.3481574). Limit: equilibrium at the stated temperature.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from beadsmith.geometry import cell_widths, minimum_image
from beadsmith.importing.bonds import nearest_distances
from beadsmith.importing.elements import covalent_radii, forms_bonds
from beadsmith.mapping.constraints import find_rigid_groups
from beadsmith.topology import MoleculeKind, Topology, group_equal_molecules
from beadsmith.trajectory import Trajectory
from beadsmith.units import KILOCALORIE_PER_MOL as KCAL
from beadsmith.units import thermal_energy

_TOLERANCE = 2.5
"""Wrong temperatures and short runs change the ratio by less than this; the smallest slip, a calorie, by 4.184."""

_STANDARD_ERRORS = 2.0

_PRECISION = 0.3
"""Largest relative error of a ratio that is trusted: a right one then passes with 4 standard errors to spare."""

_ATOM_DISTANCES = (0.06, 0.65)
"""Median distance of atoms to their closest neighbour [nm], in molecules 0.07 (H2) to 0.27 (I2). A factor of ten always
leads out of this range."""

_BEAD_DISTANCES = (0.09, 3.0)
"""The same for beads of any size, ions and noble gases."""

_BOND_RATIO = (0.7, 1.4)
"""Bond lengths over the sum of covalent radii."""

_FORCE_RANGE = (60.0, 1.2e4)
"""Root mean square of a force component on atoms of molecules [kJ/mol/nm], where the identity cannot be evaluated:
water and proteins have 650 to 1,500."""

_MOST_CENTRES = 100
"""Molecules of a frame whose neighbours are looked at."""

# factor by which the values come out too large, and why
_LENGTH_SLIPS = {
    10.0: "the values are in angstrom, but were taken for nm",
    0.1: "the values are in nm, but were taken for angstrom",
    1.8897: "the values are in bohr, but were taken for angstrom",
    18.897: "the values are in bohr, but were taken for nm",
    0.52918: "the values are in angstrom, but were taken for bohr",
    0.052918: "the values are in nm, but were taken for bohr",
}
_FORCE_SLIPS = {
    10.0: "forces per nm were taken for forces per angstrom",
    0.1: "forces per angstrom were taken for forces per nm",
    KCAL: "kJ/mol were taken for kcal/mol",
    1.0 / KCAL: "kcal/mol were taken for kJ/mol",
    10.0 * KCAL: "kJ/mol/nm were taken for kcal/mol/angstrom",
    0.1 / KCAL: "kcal/mol/angstrom were taken for kJ/mol/nm",
    100.0: "the factor of 10 between nm and angstrom was applied twice or the wrong way",
    0.01: "the factor of 10 between nm and angstrom was applied twice or the wrong way",
    96.485: "kJ/mol were taken for eV",
    1.0 / 96.485: "eV were taken for kJ/mol",
    96.485 / KCAL: "kcal/mol were taken for eV",
    KCAL / 96.485: "eV were taken for kcal/mol",
    964.85: "kJ/mol/nm were taken for eV/angstrom",
    1.0 / 964.85: "eV/angstrom were taken for kJ/mol/nm",
    100.0 * KCAL: "kJ/mol were taken for kcal/mol, and a factor of 10 for the length was applied the wrong way",
    0.01 / KCAL: "kcal/mol were taken for kJ/mol, and a factor of 10 for the length was applied the wrong way",
    10.0 / KCAL: "kcal/mol/nm were taken for kJ/mol/angstrom",
    0.1 * KCAL: "kJ/mol/angstrom were taken for kcal/mol/nm",
    49614.7: "kJ/mol/nm were taken for hartree/bohr",
    1.0 / 49614.7: "hartree/bohr were taken for kJ/mol/nm",
    -1.0: "the sign is that of the gradient of the energy, the force is minus that",
}
_NO_SLIP = (
    "no usual slip of units explains that; check the temperature, the order of the atoms, and that forces and "
    "positions belong to the same frames"
)
_VELOCITY_SLIPS = {
    10.0: "angstrom were taken for nm",
    0.1: "nm were taken for angstrom",
    1000.0: "velocities per ps were taken for velocities per fs",
    0.001: "velocities per fs were taken for velocities per ps",
    1.0 / 20.455: "AMBER's scale factor of 20.455 was left out",
    100.0: "nm/ps were taken for angstrom/fs",
    0.01: "angstrom/fs were taken for nm/ps",
}


@dataclass(frozen=True, kw_only=True)
class UnitVerdict:
    """What the numbers say about one unit."""

    quantity: str
    """What was looked at: lengths, forces or velocities."""
    ratio: float
    """Found over expected, 1 if the unit is right."""
    error: float
    """Standard error of the ratio."""
    text: str
    """The verdict in words."""
    is_wrong: bool
    """Whether the unit cannot be right."""


def judge_lengths(
    positions: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"] | None, *, are_bonded: bool
) -> UnitVerdict | None:
    """Return whether the distances between closest neighbours are possible, or None if a single site has none."""
    if len(positions) < 2:
        return None
    lowest, highest = _ATOM_DISTANCES if are_bonded else _BEAD_DISTANCES
    median = float(np.median(nearest_distances(positions, cell)))
    ratio = median / float(np.sqrt(lowest * highest))
    text = f"sites are typically {median:.3g} nm from their closest neighbour"
    if lowest <= median <= highest:
        return UnitVerdict(quantity="lengths", ratio=ratio, error=np.nan, text=text, is_wrong=False)
    slip = 10.0 if median > highest else 0.1
    text += f", expected {lowest:g} to {highest:g} nm: probably {_LENGTH_SLIPS[slip]}"
    return UnitVerdict(quantity="lengths", ratio=ratio, error=np.nan, text=text, is_wrong=True)


def judge_bonds(frames: Trajectory) -> UnitVerdict | None:
    """Return whether bonds have the length that their elements say, or None without bonds of known elements."""
    topology = frames.topology
    if topology.elements is None:
        return None
    radii = covalent_radii(topology.elements)
    expected = radii[topology.bonds].sum(axis=1)
    # some topologies join the two hydrogens of rigid water
    is_usual = np.isfinite(expected) & (expected > 0.07)
    if not is_usual.any():
        return None
    first, second = topology.bonds[is_usual].T
    vectors = minimum_image(frames.positions[:, first] - frames.positions[:, second], frames.cell)
    ratio = float(np.median(np.linalg.norm(vectors, axis=2) / expected[is_usual]))
    text = f"bonds are {ratio:.3g} times as long as the covalent radii of their elements say"
    if _BOND_RATIO[0] <= ratio <= _BOND_RATIO[1]:
        return UnitVerdict(quantity="lengths", ratio=ratio, error=np.nan, text=text, is_wrong=False)
    return UnitVerdict(
        quantity="lengths", ratio=ratio, error=np.nan, text=f"{text}: {_explain(ratio, _LENGTH_SLIPS)}", is_wrong=True
    )


def judge_forces(frames: Trajectory, temperature: float) -> UnitVerdict:
    """Return by which factor forces are too large, from the identity above.

    Parameters
    ----------
    frames : Sampled frames with forces; molecules whole; constraints in the topology.
    temperature : Stated temperature [K].
    """
    estimates = [_stretch_molecules(frames, temperature), _push_molecules(frames, temperature)]
    found = [estimate for estimate in estimates if estimate is not None]
    if not found:
        return _judge_size(frames)
    ratio, error = _combine(found)
    if error > _PRECISION * max(1.0, abs(ratio)):
        return _judge_size(frames)
    margin = _STANDARD_ERRORS * error
    text = f"forces are {ratio:.3g} ± {error:.2g} times those that keep the molecules at {temperature:g} K"
    is_wrong = ratio + margin < 1.0 / _TOLERANCE or ratio - margin > _TOLERANCE
    if is_wrong:
        text += f": {_explain(ratio, _FORCE_SLIPS) if abs(ratio) > margin else _NO_SLIP}"
    return UnitVerdict(quantity="forces", ratio=ratio, error=error, text=text, is_wrong=is_wrong)


def judge_velocities(frames: Trajectory, temperature: float) -> UnitVerdict | None:
    """Return whether the kinetic energy is that of the temperature, or None without velocities."""
    if frames.velocities is None or not np.any(frames.velocities):
        return None
    topology = frames.topology
    freedom = 3 * topology.n_sites - len(topology.constraints) - (3 if topology.n_sites > 1 else 0)
    if freedom < 1:
        return None
    squares = np.einsum("i,fix->f", topology.masses, frames.velocities.astype(np.float64) ** 2)
    ratio = float(squares.mean()) / (freedom * thermal_energy(temperature))
    error = ratio * float(np.sqrt(2.0 / (freedom * frames.n_frames)))
    text = f"the kinetic energy is {ratio:.3g} ± {error:.2g} times that of {temperature:g} K"
    margin = _STANDARD_ERRORS * error
    if ratio + margin >= 1.0 / _TOLERANCE and ratio - margin <= _TOLERANCE:
        return UnitVerdict(quantity="velocities", ratio=ratio, error=error, text=text, is_wrong=False)
    text += f", so velocities are off by {np.sqrt(ratio):.3g}: {_explain(float(np.sqrt(ratio)), _VELOCITY_SLIPS)}"
    return UnitVerdict(quantity="velocities", ratio=ratio, error=error, text=text, is_wrong=True)


def _judge_size(frames: Trajectory) -> UnitVerdict:
    """Fall back to the size of forces where no identity can be evaluated: only gross errors show."""
    assert frames.forces is not None
    size = float(np.sqrt(np.mean(frames.forces.astype(np.float64) ** 2)))
    text = f"too few frames to check forces against the temperature; a component is typically {size:.3g} kJ/mol/nm"
    lowest, highest = _FORCE_RANGE
    elements, bonds = frames.topology.elements, frames.topology.bonds
    is_molecular = elements is not None and len(bonds) > 0 and bool(forms_bonds(elements)[bonds].any())
    groups = find_rigid_groups(frames.topology)
    # rigid molecules feel only each other, which may be next to nothing
    is_flexible = len(np.unique(groups)) > frames.topology.n_molecules
    if not (is_molecular and is_flexible) or lowest <= size <= highest:
        return UnitVerdict(quantity="forces", ratio=np.nan, error=np.nan, text=text, is_wrong=False)
    text += f", expected {lowest:g} to {highest:g} on atoms: probably a wrong unit"
    return UnitVerdict(quantity="forces", ratio=np.nan, error=np.nan, text=text, is_wrong=True)


def _explain(ratio: float, slips: dict[float, str]) -> str:
    """Name the slip that explains a ratio, or say that none does."""
    same_sign = [slip for slip in slips if slip * ratio > 0.0]
    if same_sign:
        nearest = min(same_sign, key=lambda slip: abs(np.log(ratio / slip)))
        if abs(np.log(ratio / nearest)) < np.log(1.4):
            return f"the factor of {nearest:.4g} says that {slips[nearest]}"
    return _NO_SLIP


def _stretch_molecules(frames: Trajectory, temperature: float) -> tuple[float, float] | None:
    """Return ratio and error from fields that stretch each molecule about its centre, or None if all are rigid.

    v_g = X_g - mean(X) for the rigid groups g of a molecule at X_g; div v = 3 (n_groups - 1).
    """
    groups = find_rigid_groups(frames.topology)
    found = [_stretch(frames, kind, groups, temperature) for kind in group_equal_molecules(frames.topology)]
    return min((value for value in found if value), key=lambda value: value[1], default=None)


def _stretch(
    frames: Trajectory, kind: MoleculeKind, groups: np.ndarray, temperature: float
) -> tuple[float, float] | None:
    _, group = np.unique(groups[kind.sites[0]], return_inverse=True)
    n_groups = int(group.max()) + 1
    if n_groups == 1:
        return None
    assert frames.forces is not None
    member = (group == np.arange(n_groups)[:, None]).astype(np.float64)
    centres = np.einsum("gi,fmix->fmgx", member / member.sum(axis=1, keepdims=True), frames.positions[:, kind.sites])
    forces = np.einsum("gi,fmix->fmgx", member, frames.forces[:, kind.sites])
    fields = centres - centres.mean(axis=2, keepdims=True)
    work = -np.einsum("fmgx,fmgx->fm", forces, fields)
    return _ratio(work.ravel(), np.full(work.size, thermal_energy(temperature) * 3.0 * (n_groups - 1)))


def _push_molecules(frames: Trajectory, temperature: float) -> tuple[float, float] | None:
    """Return ratio and error from fields that push neighbouring molecules apart, or None for a single molecule.

    v_i = sum_j w(r_ij) (r_i - r_j), w(r) = (1 - r²/c²)² within c; div_i v_i = sum_j (3 w + r w').
    Of several ranges c the one whose divergence stands out most from the noise of the forces is taken.
    """
    topology = frames.topology
    if topology.n_molecules < 2:
        return None
    centres, forces = _molecules(frames, topology)
    n_centres = min(_MOST_CENTRES, topology.n_molecules)
    chosen = np.linspace(0, topology.n_molecules - 1, n_centres).astype(np.int64)
    spacing = float(np.median(nearest_distances(centres[0], None if frames.cell is None else frames.cell[0])))
    longest = np.inf if frames.cell is None else 0.5 * float(cell_widths(frames.cell).min())
    ranges = [c for c in spacing * np.array([1.3, 1.6, 2.0, 2.5, 3.0]) if c <= longest]
    work = np.zeros((len(ranges), frames.n_frames))
    divergence = np.zeros((len(ranges), frames.n_frames))
    for frame in range(frames.n_frames):
        cell = None if frames.cell is None else frames.cell[frame : frame + 1]
        vectors = minimum_image((centres[frame, chosen, None] - centres[frame, None])[None], cell)[0]
        squares = np.einsum("ijx,ijx->ij", vectors, vectors)
        squares[np.arange(n_centres), chosen] = np.inf
        along = np.einsum("ix,ijx->ij", forces[frame, chosen], vectors)
        for k, c in enumerate(ranges):
            rest = np.maximum(1.0 - squares / c**2, 0.0)
            inside = rest > 0.0
            work[k, frame] = -np.sum(along[inside] * rest[inside] ** 2)
            divergence[k, frame] = np.sum(3.0 * rest[inside] ** 2 - 4.0 * (1.0 - rest[inside]) * rest[inside])
    found = []
    for k in range(len(ranges)):
        if divergence[k].mean() < 0.0:
            found.append(_ratio(work[k], thermal_energy(temperature) * divergence[k]))
    return min((value for value in found if value), key=lambda value: value[1], default=None)


def _molecules(frames: Trajectory, topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    """Return centre of mass and total force of each molecule."""
    assert frames.forces is not None
    starts = np.flatnonzero(np.diff(topology.molecule_index, prepend=-1))
    masses = np.add.reduceat(topology.masses, starts)
    weighted = topology.masses[:, None] * frames.positions.astype(np.float64)
    centres = np.add.reduceat(weighted, starts, axis=1) / masses[:, None]
    return centres, np.add.reduceat(frames.forces.astype(np.float64), starts, axis=1)


def _combine(estimates: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean of independent estimates weighted by their inverse variances, and its error."""
    # forces that are zero have no error at all
    precisions = np.array([1.0 / max(error, 1e-9) ** 2 for _, error in estimates])
    ratios = np.array([ratio for ratio, _ in estimates])
    return float(precisions @ ratios / precisions.sum()), float(precisions.sum() ** -0.5)


def _ratio(work: np.ndarray, expected: np.ndarray) -> tuple[float, float] | None:
    """Return the ratio of two means and its standard error, or None for a single sample."""
    if len(work) < 2:
        return None
    ratio = work.mean() / expected.mean()
    deviation = (work - ratio * expected).std(ddof=1) / np.sqrt(len(work))
    return float(ratio), float(abs(deviation / expected.mean()))
