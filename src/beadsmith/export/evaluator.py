"""A force field behind one plain function, positions in and energy and forces out: what every foreign engine calls."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from beadsmith.batch import Batch, Prediction, build_batch
from beadsmith.energy import predict
from beadsmith.force_field import ForceField, adopt_topology, fix_temperature
from beadsmith.neighbors import SkinList, build_skin_list, is_covering
from beadsmith.priors.volume import refuse_without_volume
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory

Precision = Literal["float32", "float64"]
"""Precision of energies and forces: single as in training, or double."""

Evaluate = Callable[[np.ndarray, np.ndarray | None], Prediction]
"""From positions (n_sites, 3) [nm] and cell (3, 3) [nm], or None, to the prediction for this one system."""


def build_evaluator(
    force_field: ForceField,
    frame: Trajectory,
    *,
    temperature: float | None = None,
    precision: Precision = "float32",
    device: torch.device | str = "cpu",
    skin: float = 0.1,
) -> Evaluate:
    """Return a function that evaluates a force field for the beads of a frame at any positions.

    It keeps a neighbour list with a skin from call to call, so calls along a trajectory are cheap; positions that jump,
    by cell vectors too, only cost a new list.

    Parameters
    ----------
    force_field : Force field; it is copied.
    frame : Names the beads; its positions and cell do not matter.
    temperature : Temperature [K] of a force field that depends on it; of no meaning for others.
    precision : Precision of energies and forces.
    device : Where to compute.
    skin : Distance beyond the cutoff up to which neighbours are kept between searches [nm].

    Raises
    ------
    InputError : the frame holds beads or molecules that the force field does not know, it depends on temperature and
        none is given, or it has a term of the volume and the frame no cell.
    """
    if frame.cell is None:
        refuse_without_volume(force_field.prior)
    dtype = getattr(torch, precision)
    model = copy.deepcopy(fix_temperature(force_field, temperature)).to(device, dtype).eval().requires_grad_(False)
    topology = adopt_topology(frame.topology, force_field)
    batch = build_batch(replace(frame, topology=topology), np.array([0]), device=device, dtype=dtype)
    skin_list: SkinList | None = None
    images = np.zeros(3)

    def evaluate(positions: np.ndarray, cell: np.ndarray | None) -> Prediction:
        nonlocal skin_list, images
        current = _place(batch, positions - images, cell)
        if skin_list is None or not is_covering(skin_list, current):
            images = molecule_images(positions, cell, topology)
            current = _place(batch, positions - images, cell)
            skin_list = build_skin_list(current, force_field.cutoff, skin)
        with torch.no_grad():
            return predict(model, current, skin_list.pairs)

    return evaluate


def _place(batch: Batch, positions: np.ndarray, cell: np.ndarray | None) -> Batch:
    like = batch.positions
    return replace(
        batch,
        positions=torch.as_tensor(positions, device=like.device).to(like.dtype),
        cell=None if cell is None else torch.as_tensor(cell, device=like.device).to(like.dtype)[None],
    )


def molecule_images(positions: np.ndarray, cell: np.ndarray | None, topology: Topology) -> np.ndarray:
    """Return the cell vectors [nm] by which each molecule lies outside the cell: far positions cost float32 digits."""
    if cell is None:
        return np.zeros(3)
    first = np.searchsorted(topology.molecule_index, np.arange(topology.n_molecules))
    shifts = np.floor(positions[first] @ np.linalg.inv(cell)) @ cell
    return np.asarray(shifts[topology.molecule_index])
