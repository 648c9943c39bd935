"""Do bead types tell apart what is chemically different? The verdict on permutations of beads of one type."""

from collections.abc import Sequence
from dataclasses import replace

from beadsmith.analysis.exchanges import Exchange
from beadsmith.check import Check, Status
from beadsmith.diagnostics.mapping.knowledge import BOND_PRIOR, GRAPH_TYPES, PAIR_CLASSES, ModelKnowledge
from beadsmith.diagnostics.mapping.molecules import LabelSurvey, MoleculeSurvey
from beadsmith.diagnostics.mapping.verdict import MappingVerdict

SHAPE_OVERLAP = 1e-2
"""Overlap of all shapes with those after an exchange above which the data hold both arrangements."""

THERMAL_WIDTHS = 3.0
"""An exchanged shape that comes this close to a shape of the reference, in thermal widths, is one of them."""

FIRST_SHELL_OVERLAP = 0.1
"""Overlap of the distances to common partners above which two beads look the same at first sight."""

_EQUAL = 1e-6
_LARGE = 6.0
_MOST_SHARED = 6


def check_labels(molecules: tuple[MoleculeSurvey, ...], model: ModelKnowledge) -> list[MappingVerdict]:
    """Return the verdict on bead types; none where all molecules have one bead."""
    surveyed = [(entry, entry.labels) for entry in molecules if entry.labels is not None]
    if not surveyed:
        return []
    order = ("pass", "warn", "fail")
    molecule, labels = max(
        surveyed, key=lambda pair: (order.index(judge_exchanges(pair[1].exchanges)), pair[1].log_copies)
    )
    status = judge_exchanges(labels.exchanges)
    check = Check(
        name="bead labels",
        status=status,
        value=_count(labels.log_copies),
        unit="1",
        threshold="1, or none that looks like the molecule",
        meaning="Arrangements of a molecule's beads with one energy of types and distances, its own included"
        + _describe_worst(molecule, labels),
        remedy=_suggest(labels),
    )
    return [_cure(check, labels, model)]


def judge_exchanges(exchanges: tuple[Exchange, ...]) -> Status:
    """Return fail where the data hold a molecule and its exchange, warn where a look around does not tell them."""
    if any(_is_in_data(entry) for entry in exchanges):
        return "fail"
    return "warn" if any(is_confusable(entry) for entry in exchanges) else "pass"


def is_confusable(exchange: Exchange) -> bool:
    """Return whether two beads look the same from their common partners, or their molecule after their exchange."""
    return exchange.first_shell > FIRST_SHELL_OVERLAP or exchange.overlap > SHAPE_OVERLAP


def describe_shared_labels(beads: Sequence[str], labels: Sequence[int]) -> str:
    """Return which beads share a label, ``"C1=C6, C2=C5"``; empty where each has its own.

    Parameters
    ----------
    beads : Beads as NUMBER:RESIDUE:NAME; a name that is there more than once keeps its number of the residue, or gets
        that of the bead in the molecule.
    labels : Number of the label of each bead.
    """
    parts = [bead.split(":") for bead in beads]
    names = [part[-1] for part in parts]
    numbered = [f"{part[0]}:{part[-1]}" for part in parts]
    placed = [f"{name}#{place}" for place, name in enumerate(names, start=1)]
    short = [
        name if names.count(name) == 1 else longer if numbered.count(longer) == 1 else last
        for name, longer, last in zip(names, numbered, placed, strict=True)
    ]
    groups: dict[int, list[str]] = {}
    for bead, label in zip(short, labels, strict=True):
        groups.setdefault(label, []).append(bead)
    shared = ["=".join(group) for group in groups.values() if len(group) > 1]
    return f"{', '.join(shared[:_MOST_SHARED])}{' and more' if len(shared) > _MOST_SHARED else ''}"


def find_depth(labels: LabelSurvey) -> int | None:
    """Return the smallest depth of graph types that tells all confusable beads apart; None if no depth does."""
    pairs = [entry.sites for entry in labels.exchanges if is_confusable(entry)]
    for depth, numbers in enumerate(labels.by_depth):
        if all(numbers[first] != numbers[second] for first, second in pairs):
            return depth
    return None


def _count(log_copies: float) -> float | str:
    """Return a number of arrangements; types that tell more apart than chemistry does still leave one."""
    return float(max(round(10.0**log_copies), 1)) if log_copies < _LARGE else f"10^{log_copies:.0f}"


def _is_in_data(exchange: Exchange) -> bool:
    if exchange.overlap <= SHAPE_OVERLAP or exchange.deviation is None or exchange.spread is None:
        return False
    return exchange.deviation < THERMAL_WIDTHS * exchange.spread


def _describe_worst(molecule: MoleculeSurvey, labels: LabelSurvey) -> str:
    """Return the end of the sentence: which exchange is told apart the least, and how."""
    n_needed = len(set(labels.needed))
    shared = describe_shared_labels(molecule.beads, labels.needed)
    needed = (
        f"; {n_needed} label{'s' if n_needed > 1 else ''}{f' ({shared})' if shared else ''} would remove all that "
        f"labels can, the map has {len(set(molecule.types))}."
    )
    confusable = [entry for entry in labels.exchanges if is_confusable(entry)]
    if not confusable:
        return needed
    worst = max(confusable, key=lambda entry: (_is_in_data(entry), entry.first_shell, entry.overlap))
    first, second = (molecule.beads[site] for site in worst.sites)
    text = f" Least told apart are {first} and {second}: their distances to common partners overlap by "
    text += f"{worst.first_shell:.2g}"
    if worst.deviation is not None and worst.spread:
        text += f", and after their exchange the molecule is {worst.deviation / worst.spread:.2g} thermal widths away"
    return f"{needed}{text}."


def _suggest(labels: LabelSurvey) -> str:
    depth = find_depth(labels)
    known = f"Set {BOND_PRIOR} or {PAIR_CLASSES}, by which the bonds tell the beads apart"
    if depth is None:
        return f"Give the beads types of their own under mapping.definitions. {known}."
    n_labels = len(set(labels.by_depth[depth]))
    return f"Set {GRAPH_TYPES} with mapping.graph_depth: {max(depth, 1)} ({n_labels} types here). {known}."


def _cure(check: Check, labels: LabelSurvey, model: ModelKnowledge) -> MappingVerdict:
    """Return the verdict: where bonds are known, only symmetries of the graph of types are left."""
    if check.status == "pass" or not model.bond_cures or labels.log_copies_with_bonds > _EQUAL:
        return MappingVerdict(check=check, map_alone=check.status)
    meaning = f"{check.meaning} With the bonds known, only its own is left."
    return MappingVerdict(
        check=replace(check, status="pass", meaning=meaning), map_alone=check.status, cures=model.bond_cures
    )
