"""Import files of frames with forces into a reference: the verb ``import``.

One pass in blocks of bounded memory; each is saved as one atomic part, so that the same call resumes a killed one.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.errors import InputError
from beadsmith.geometry import make_whole, wrap
from beadsmith.importing.elements import forms_bonds
from beadsmith.importing.settings import ReferenceSettings
from beadsmith.importing.sites import (
    ImportedSites,
    bond_constraints,
    build_sites,
    find_elements,
    read_sites,
    with_constraints,
)
from beadsmith.importing.source import FrameSource, SourceFrames, open_source
from beadsmith.importing.unit_check import UnitVerdict, judge_bonds, judge_forces, judge_lengths, judge_velocities
from beadsmith.io.parts import PartStore
from beadsmith.mapping.constraints import detect_constraints
from beadsmith.mapping.frames import build_molecule_tree
from beadsmith.progress import Progress, silent
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory, join_trajectories

_SITES_PER_BLOCK = 1_000_000
"""Sites times frames read at once: 24 MB for each float64 array, of which about ten are alive at once."""

_SITES_IN_SAMPLE = 400_000
_MOST_SAMPLED, _FEWEST_SAMPLED = 2000, 5


@dataclass(frozen=True, kw_only=True)
class ReferenceSurvey:
    """What the files hold, found without importing them."""

    topology: Topology
    """Atoms with constraints."""
    n_frames: int
    """Frames that are taken of all files."""
    volume: float | None
    """Volume of the cell in the first frame [nm³], or None without cells."""
    files: tuple[dict[str, object], ...]
    """Frames and units of each file."""
    verdicts: tuple[UnitVerdict, ...]
    """Whether units are possible."""
    notices: tuple[str, ...]
    """What was guessed or left out."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Everything that turns frames of files into frames of the reference."""

    sites: ImportedSites
    tree: tuple[np.ndarray, ...]
    state_point: StatePoint


def import_reference(
    settings: ReferenceSettings,
    state_point: StatePoint,
    output: Path,
    *,
    identity: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Read files of frames with forces and write them as one reference; return what was found.

    Molecules are made whole across the boundary, with their first atom in the cell; atoms of a molecule follow each
    other; each file is a segment. Nothing is written beside the files that are read.

    Parameters
    ----------
    settings : Files, units, atoms.
    state_point : State at which the files were sampled.
    output : Trajectory file to write. What an interrupted call with the same identity has saved is used.
    identity : Hash of all inputs.
    progress : Receives frames done.

    Raises
    ------
    InputError : a file cannot be used, its atoms are not known, or its units cannot be right.
    """
    began = time.perf_counter()
    with open_source(settings) as source:
        plan, survey = _survey(settings, source, state_point)
        store = PartStore(output, identity)
        n_saved = store.n_frames
        block = max(1, _SITES_PER_BLOCK // source.n_atoms)
        repeated: dict[int, str] = {}
        last = (-1, 0.0)
        while store.n_frames < source.n_frames:
            frames = _convert(source.read(store.n_frames, store.n_frames + block), plan)
            store.append(frames, {})
            last = _watch_times_(repeated, frames, last, settings)
            progress(store.n_frames, source.n_frames)
        summary = describe_survey(survey)
        summary["notices"] += repeated.values()
        store.finish({"stage": "import", **summary, "settings": asdict(settings)})
        speed = (source.n_frames - n_saved) / (time.perf_counter() - began)
        return {**summary, "frames_per_second": speed}


def _watch_times_(
    repeated: dict[int, str], frames: Trajectory, last: tuple[int, float], settings: ReferenceSettings
) -> tuple[int, float]:
    """Note the first time that does not increase in each file: runs joined with their overlap hold frames twice."""
    assert frames.segment is not None
    segment = int(frames.segment[0])
    times = np.concatenate([[last[1]] if last[0] == segment else [], frames.times])
    back = np.flatnonzero(np.diff(times) <= 0.0)
    if len(back):
        text = f"{times[back[0] + 1]:g} ps follows {times[back[0]]:g} ps"
        repeated.setdefault(
            segment,
            f"times in '{settings.files[segment]}' do not increase ({text}): joined runs may hold frames twice",
        )
    return segment, float(frames.times[-1])


def survey_reference(settings: ReferenceSettings, state_point: StatePoint) -> ReferenceSurvey:
    """Return what the files of a reference hold, without importing them.

    Raises
    ------
    InputError : as `import_reference`.
    """
    with open_source(settings) as source:
        return _survey(settings, source, state_point)[1]


def describe_survey(survey: ReferenceSurvey) -> dict[str, Any]:
    """Return a survey as JSON-ready facts."""
    topology = survey.topology
    return {
        "n_atoms": topology.n_sites,
        "n_molecules": topology.n_molecules,
        "n_bonds": len(topology.bonds),
        "n_constraints": len(topology.constraints),
        "n_frames": survey.n_frames,
        "files": list(survey.files),
        "unit_checks": [asdict(verdict) for verdict in survey.verdicts],
        "notices": list(survey.notices),
    }


def _survey(settings: ReferenceSettings, source: FrameSource, state_point: StatePoint) -> tuple[_Plan, ReferenceSurvey]:
    """Find out what the atoms are and whether units are possible, from a sample of the frames."""
    first = source.first
    cell = None if first.cell is None else first.cell[0]
    notices = list(source.notices)
    stated = read_sites(settings, source)
    elements = find_elements(stated.sites)
    is_bonded = elements is not None and bool(forms_bonds(elements).any())
    # before bonds are looked for: with wrong lengths all atoms or none would be bonded
    verdicts = [judge_lengths(first.positions[0, stated.kept], cell, are_bonded=is_bonded)]
    _refuse_wrong(verdicts, settings, notices)
    sites = build_sites(settings, source, stated, elements)
    notices += sites.notices
    plan = _Plan(
        sites=sites, tree=build_molecule_tree(sites.topology) if first.cell is not None else (), state_point=state_point
    )
    sample = _sample(source, plan)
    if not sites.has_constraints:
        sites = with_constraints(sites, _find_constraints(settings, sample, notices))
        plan = replace(plan, sites=sites)
        sample = replace(sample, topology=sites.topology)
    temperature = state_point.temperature
    later = [judge_bonds(sample), judge_forces(sample, temperature), judge_velocities(sample, temperature)]
    _refuse_wrong(later, settings, notices)
    survey = ReferenceSurvey(
        topology=sites.topology,
        n_frames=source.n_frames,
        volume=None if cell is None else float(abs(np.linalg.det(cell))),
        files=tuple(source.describe()),
        verdicts=tuple(verdict for verdict in [*verdicts, *later] if verdict is not None),
        notices=tuple(notices),
    )
    return plan, survey


def _refuse_wrong(verdicts: list[UnitVerdict | None], settings: ReferenceSettings, notices: list[str]) -> None:
    for verdict in verdicts:
        if verdict is None or not verdict.is_wrong:
            continue
        if settings.unit_check == "refuse":
            raise InputError(
                f"the units of {verdict.quantity} cannot be right: {verdict.text}",
                where=f"file '{settings.files[0]}'",
                fix="Correct 'units' (or the topology, or the temperature). If you are sure, say 'unit_check: warn'.",
            )
        notices.append(f"the units of {verdict.quantity} look wrong: {verdict.text}")


def _sample(source: FrameSource, plan: _Plan) -> Trajectory:
    """Return frames spread over all files."""
    n_wanted = int(np.clip(_SITES_IN_SAMPLE // source.n_atoms, _FEWEST_SAMPLED, _MOST_SAMPLED))
    return join_trajectories([_convert(frames, plan) for frames in source.read_spread(n_wanted)])


def _find_constraints(settings: ReferenceSettings, sample: Trajectory, notices: list[str]) -> np.ndarray:
    topology = sample.topology
    if settings.constraints == "none" or topology.n_molecules == topology.n_sites:
        return np.zeros((0, 2), dtype=np.int64)
    if settings.constraints in ("h_bonds", "all_bonds"):
        return bond_constraints(topology, only_hydrogen=settings.constraints == "h_bonds")
    try:
        found = detect_constraints(_one_by_one(sample), topology)
    except InputError as error:
        raise InputError(
            f"the constraints of the simulation cannot be found in the data: {error.what}",
            fix="Say them: 'constraints: none', 'h_bonds' (bonds to hydrogen and rigid water) or 'all_bonds'.",
        ) from error
    if len(found.pairs):
        notices.append(
            f"{len(found.pairs)} distances do not vary (at most {found.largest_rigid:.2g} nm) and count as constraints"
        )
    return found.pairs


def _one_by_one(sample: Trajectory) -> Iterator[Trajectory]:
    """Give a sample in pieces of bounded memory."""
    step = max(1, _SITES_IN_SAMPLE // (10 * sample.n_sites))
    for start in range(0, sample.n_frames, step):
        yield sample.select(slice(start, start + step))


def _convert(frames: SourceFrames, plan: _Plan) -> Trajectory:
    """Return frames with sorted atoms and whole molecules, the first atom of each in the cell."""
    order, topology = plan.sites.order, plan.sites.topology
    if np.any(frames.forces[:, plan.sites.dropped]):
        raise InputError(
            "sites without mass carry forces, which would be lost with them",
            fix="Save forces after those of virtual sites are spread over the atoms that define them, as GROMACS does.",
        )
    positions, cell = frames.positions[:, order], frames.cell
    if cell is not None:
        roots = np.flatnonzero(np.diff(topology.molecule_index, prepend=-1))
        positions[:, roots] = wrap(positions[:, roots], cell)
        positions = make_whole(positions, cell, plan.tree)
    return Trajectory(
        topology=topology,
        state_point=plan.state_point,
        positions=positions.astype(np.float32),
        forces=frames.forces[:, order].astype(np.float32),
        velocities=None if frames.velocities is None else frames.velocities[:, order].astype(np.float32),
        cell=None if cell is None else cell.astype(np.float32),
        times=frames.times,
        segment=frames.segment,
    )
