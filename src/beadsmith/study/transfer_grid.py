"""The runs of a transfer study: states sampled once, force fields trained on some of them and simulated at all."""

from dataclasses import dataclass, replace
from pathlib import Path

from beadsmith.config.document import Node
from beadsmith.config.quantities import parse_quantity
from beadsmith.errors import InputError
from beadsmith.study.models import AXIS_KEYS, name_quantity, read_axes, read_skipped
from beadsmith.study.overlays import (
    Combination,
    Overlay,
    check_name,
    check_skipped,
    combine,
    find_value,
    replace_value,
)
from beadsmith.study.record import PlannedRun, plan_run
from beadsmith.study.sections import read_list, read_section, read_word, refuse_unknown

TRANSFER_KEYS = (*AXIS_KEYS, "temperatures", "densities", "pressures", "sets")

TRAIN, TEST = "train", "test"
"""Axes of the transfer matrix."""

_PRESSURE = "pressure"
_UNITS = {"temperature": "K", "density": "u/nm**3", _PRESSURE: "kJ/mol/nm**3"}
_PLURALS = {"temperatures": "temperature", "densities": "density", "pressures": "pressure"}


@dataclass(frozen=True, kw_only=True)
class _State:
    """One state point of the grid."""

    name: str
    values: dict[str, float]
    document: Node


def plan_transfer_runs(
    base: Node, entries: dict[str, Node], folder: Path
) -> tuple[dict[str, tuple[str, ...]], tuple[PlannedRun, ...]]:
    """Return the axes and the runs: first the states, then for each model the trainings and their simulations.

    Every set of states gives one training a model, with the frames of all its states; ``each`` one a state. Every force
    field is simulated at every state: where those have pressures, at constant pressure, unless ``simulation.pressure``
    is none.

    Raises
    ------
    InputError : there is no grid, a set names no state of it, or a configuration is not valid.
    """
    axes = read_axes(entries)
    states = _read_states(base, entries)
    sets = _read_sets(entries, states)
    names = {TRAIN: tuple(sets), TEST: tuple(state.name for state in states)}
    matrix = [[Overlay(axis=axis, name=name, values={}) for name in options] for axis, options in names.items()]
    skipped = check_skipped(_spell_out(read_skipped(entries), entries, states), [*axes, *matrix])
    runs = [_plan_state(state) for state in states]
    for model in combine(base, axes):
        for set_name, members in sets.items():
            cells = [
                state
                for state in states
                if not any(
                    entry.items() <= {**model.options, TRAIN: set_name, TEST: state.name}.items() for entry in skipped
                )
            ]
            if not cells:
                continue
            training = _plan_training(model, set_name, members, folder)
            runs += [training, *(_plan_cell(model, set_name, state, training, folder) for state in cells)]
    return {**{options[0].axis: tuple(entry.name for entry in options) for options in axes}, **names}, tuple(runs)


def _plan_state(state: _State) -> PlannedRun:
    name = f"state-{state.name}"
    return plan_run(_at_state(state.document, state), name, {TEST: state.name}, role="state")


def _plan_training(model: Combination, set_name: str, members: list[_State], folder: Path) -> PlannedRun:
    name = _join("train", *model.options.values(), set_name)
    document = _at_state(model.document, members[0])
    others = [_text(str(folder / "runs" / f"state-{state.name}")) for state in members[1:]]
    if others:
        document = replace_value(document, "train_with", Node(value=others, where=document.where))
    sources = tuple(f"state-{state.name}" for state in members)
    return plan_run(document, name, {**model.options, TRAIN: set_name}, role="training", sources=sources)


def _plan_cell(model: Combination, set_name: str, state: _State, training: PlannedRun, folder: Path) -> PlannedRun:
    name = _join(*model.options.values(), set_name, "at", state.name)
    document = _at_state(model.document, state)
    document = replace_value(document, "trained_in", _text(str(folder / "runs" / training.name)))
    options = {**model.options, TRAIN: set_name, TEST: state.name}
    return plan_run(document, name, options, sources=(f"state-{state.name}", training.name))


def _read_states(base: Node, entries: dict[str, Node]) -> list[_State]:
    if "densities" in entries and "pressures" in entries:
        raise InputError("the grid has both 'densities' and 'pressures'", where=entries["pressures"].where)
    given = [key for key in _PLURALS if key in entries]
    if not given:
        raise InputError("the study has no grid of states", fix="Add 'temperatures: [300 K, 400 K]', or 'densities'.")
    axes = []
    for plural in given:
        key = _PLURALS[plural]
        axes.append(
            [
                Overlay(
                    axis=key, name=name_quantity(read_word(node, plural), node.where), values={f"state.{key}": node}
                )
                for node in read_list(entries[plural], plural)
            ]
        )
    if "pressure" in (options[0].axis for options in axes):
        base = replace_value(base, "state.density", _text("none"))
    if "density" in (options[0].axis for options in axes):
        base = replace_value(base, "state.pressure", _text("none"))
    return [
        _State(
            name="_".join(found.options.values()),
            values={options[0].axis: _read_quantity(options, found.options[options[0].axis]) for options in axes},
            document=found.document,
        )
        for found in combine(base, axes)
    ]


def _read_quantity(options: list[Overlay], name: str) -> float:
    ((key, node),) = next(option for option in options if option.name == name).values.items()
    axis = key.removeprefix("state.")
    return parse_quantity(str(node.value), _UNITS[axis], name=axis, where=node.where)


def _read_sets(entries: dict[str, Node], states: list[_State]) -> dict[str, list[_State]]:
    """Return the states of each training set."""
    single = {state.name: [state] for state in states}
    if "sets" not in entries:
        return {**single, "joint": states} if len(states) > 1 else single
    sets: dict[str, list[_State]] = {}
    for name, node in read_section(entries["sets"], "'sets'").items():
        if isinstance(node.value, dict):
            sets[check_name(name, node.where)] = _choose_states(name, node, states)
        elif read_word(node, f"sets.{name}") == "each":
            sets |= single
        elif node.value == "all":
            sets[check_name(name, node.where)] = states
        else:
            raise InputError(
                f"'sets.{name}' is '{node.value}', expected each, all, or a section such as "
                "{temperatures: [300 K, 400 K]}",
                where=node.where,
            )
    return sets


def _spell_out(skipped: list[dict[str, Node]], entries: dict[str, Node], states: list[_State]) -> list[dict[str, Node]]:
    """Return what is left out, with the name of an ``each`` replaced by that of every single state."""
    sets = read_section(entries["sets"], "'sets'") if "sets" in entries else {}
    single = {name for name, node in sets.items() if node.value == "each"}
    found = []
    for entry in skipped:
        if TRAIN in entry and entry[TRAIN].value in single:
            found += [{**entry, TRAIN: replace(entry[TRAIN], value=state.name)} for state in states]
        else:
            found.append(entry)
    return found


def _choose_states(name: str, node: Node, states: list[_State]) -> list[_State]:
    wanted = read_section(node, f"'sets.{name}'")
    refuse_unknown(wanted, tuple(_PLURALS), f"'sets.{name}'")
    chosen = states
    for plural, values in wanted.items():
        key = _PLURALS[plural]
        for entry in read_list(values, plural):
            value = parse_quantity(read_word(entry, plural), _UNITS[key], name=plural, where=entry.where)
            if not any(_is_close(state.values.get(key), value) for state in states):
                raise InputError(f"'sets.{name}' names {entry.value}, which no state has", where=entry.where)
        accepted = [
            parse_quantity(str(entry.value), _UNITS[key], name=plural, where=entry.where)
            for entry in read_list(values, plural)
        ]
        chosen = [state for state in chosen if any(_is_close(state.values.get(key), value) for value in accepted)]
    if not chosen:
        raise InputError(f"'sets.{name}' chooses no state of the grid", where=node.where)
    return chosen


def _is_close(first: float | None, second: float) -> bool:
    return first is not None and abs(first - second) <= 1e-9 * abs(second)


def _at_state(document: Node, state: _State) -> Node:
    """Return a configuration at a state, simulated at its pressure if it has one: a barostat alone would be refused."""
    found = state.document.value
    assert isinstance(found, dict)
    return _at_pressure(replace_value(document, "state", found["state"]), state)


def _at_pressure(document: Node, state: _State) -> Node:
    """Return the configuration with the pressure of the state for its simulation, unless that is none.

    Raises
    ------
    InputError : the simulation has a pressure, and that of the state is another.
    """
    if _PRESSURE not in state.values:
        return document
    given = find_value(document, "simulation.pressure")
    if given is None:
        found = find_value(state.document, "state.pressure")
        assert found is not None
        return replace_value(document, "simulation.pressure", found)
    if given.value in (None, "none"):
        return document
    value = parse_quantity(str(given.value), _UNITS[_PRESSURE], name="simulation.pressure", where=given.where)
    if not _is_close(state.values[_PRESSURE], value):
        raise InputError(
            f"'simulation.pressure' is {given.value}, but the state '{state.name}' has another pressure",
            where=given.where,
            fix="Delete this line: every state is simulated at its own pressure. 'none' keeps the box of the start.",
        )
    return document


def _join(*parts: str) -> str:
    return "-".join(parts)


def _text(value: str) -> Node:
    return Node(value=value, where="the study")
