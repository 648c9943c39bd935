"""Langevin dynamics without a word between device and host from one saved frame to the next.

On a CUDA device the step is captured as two CUDA graphs, with and without a neighbour search, and replayed: no kernel
is launched from Python. On a CPU the same functions run as they are, which is how they are tested. What could make a
step wrong (too little room for neighbours, a site that left the skin, a replica that blew up) is noted on the device
and looked at when a frame is due; the steps are then repeated from the last frame, with more room or more searches.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.energy import EnergyModel
from beadsmith.neighbors import SkinList
from beadsmith.simulation.integrator import AbstractIntegrator
from beadsmith.simulation.langevin import Langevin
from beadsmith.simulation.noise import NOISE, NoiseBlock, draw_block
from beadsmith.simulation.state import (
    State,
    StepInfo,
    compute_forces,
    place_sites,
    refresh_neighbours,
    wrap_molecules,
)
from beadsmith.simulation.static_forces import StaticForces
from beadsmith.simulation.static_list import (
    PaddedPairs,
    has_room,
    list_pairs,
    make_room,
    plan_search,
    search_pairs,
    serves_cells,
)
from beadsmith.units import GAS_CONSTANT

_N_WARMUP = 3
_LONGEST_BLOCK = 64
_NUMBERS_PER_BLOCK = 2**24
_FORCE_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Largest difference from `energy.predict`, relative to the largest force: far beyond rounding."""


class CapturedLangevin(AbstractIntegrator):
    """`Langevin` that goes to the next saved frame, or change of a cell, in one call of `step`.

    A replica whose step was refused stands still until the frame, where it is taken out; the frame's step is reported.
    At every frame its forces are compared with those of `energy.predict`; should they differ, or should the device
    refuse to capture, a warning says so and the ordinary integrator takes over.
    """

    refreshes_neighbours: ClassVar[bool] = True

    def __init__(
        self,
        langevin: Langevin,
        *,
        first_frame: int,
        stride: int,
        n_replicas: int,
        noise: Literal["host", "device"] = "device",
    ) -> None:
        """Set what does not change in a run.

        Parameters
        ----------
        langevin : Timestep and friction.
        first_frame : A step at which a frame is due.
        stride : Steps between frames.
        n_replicas : Replicas at the start of the run; of these some may have stopped.
        noise : Where random numbers are drawn: on the host as `Langevin` does, so that the path is the same up to
            rounding, or by a generator of the device, which costs the host nothing. Either way they are a function of
            seed, replica and step.
        """
        self.langevin, self.timestep = langevin, langevin.timestep
        self.first_frame, self.stride = first_frame, stride
        self.n_replicas, self.noise = n_replicas, noise
        self._loop: _Loop | None = None
        self._is_trusted = True

    def init(self, state: State) -> State:
        """Return the state as it is."""
        return self.langevin.init(state)

    def step(self, state: State, force_field: EnergyModel) -> tuple[State, StepInfo]:
        """Return the state at the next frame."""
        n_steps = self.stride - (state.step - self.first_frame) % self.stride
        if self._is_trusted:
            try:
                moved, info, error = self._replay(state, force_field, n_steps)
            except RuntimeError as problem:
                trouble = f"steps cannot be captured ({problem})"
            else:
                # written so that an error that is not a number counts as one
                if error <= _FORCE_TOLERANCE[state.system.positions.dtype]:
                    return moved, info
                trouble = f"captured forces differ from plain ones by {error:.1e} of the largest force"
            self._is_trusted, self._loop = False, None
            warnings.warn(
                f"{trouble}: going on without capture, which is slower. Please report this with the versions of torch "
                "and of the device's driver",
                stacklevel=2,
            )
        return self._step_plainly(state, force_field, n_steps)

    def _replay(self, state: State, force_field: EnergyModel, n_steps: int) -> tuple[State, StepInfo, float]:
        """Go to the next frame, as often as it takes; see `_Loop.leave`."""
        if self._loop is None or not self._loop.is_for(state, force_field):
            self._loop = _Loop(state, self, force_field)
        while not self._loop.advance(state, n_steps):
            pass
        return self._loop.leave(state, n_steps)

    def _step_plainly(self, state: State, force_field: EnergyModel, n_steps: int) -> tuple[State, StepInfo]:
        """Go to the next frame with the ordinary integrator, or to a step at which a replica is refused."""
        for _ in range(n_steps):
            state, info = self.langevin.step(state, force_field)
            if info.has_stopped:
                break
        return refresh_neighbours(state), info

    def measure_velocities(self, state: State) -> Float[Tensor, "replicas sites 3"]:
        """Return the velocities half a step ahead."""
        return self.langevin.measure_velocities(state)

    def measure_temperature(self, state: State) -> Float[Tensor, "replicas"]:
        """Return the kinetic temperature of the half-step velocities [K]."""
        return self.langevin.measure_temperature(state)


class _Loop:
    """Memory and graphs for one set of replicas."""

    def __init__(self, state: State, integrator: CapturedLangevin, force_field: EnergyModel) -> None:
        self._integrator, self._force_field, self._replicas = integrator, force_field, state.replica.tolist()
        self._device = state.positions.device
        plan = plan_search(state.system, state.cutoff, state.skin_list.skin)
        # its own memory: cells change between replays
        self._plan = plan if plan.cell is None else replace(plan, cell=plan.cell.clone())
        self._known_cell = state.system.cell
        # five standard deviations of a free flight stay within half the skin
        fastest = math.sqrt(GAS_CONSTANT * float(state.temperature.max()) / float(state.masses.min()))
        self._most_steps_per_search = max(1, int(0.1 * state.skin_list.skin / (fastest * integrator.timestep)))
        self._steps_per_search = self._most_steps_per_search
        self._prepare(state)

    def is_for(self, state: State, force_field: EnergyModel) -> bool:
        """Tell whether the loop was made for these replicas, and serves cells of their size."""
        if force_field is not self._force_field or state.replica.tolist() != self._replicas:
            return False
        cell = state.system.cell
        return cell is None or cell is self._known_cell or serves_cells(self._plan, cell)

    def _prepare(self, state: State) -> None:
        """Allocate memory of the plan's shape, and capture the step in it."""
        self._forces_of = StaticForces(self._force_field, replace(state.system, cell=self._plan.cell), self._plan)
        self._memory = _Memory(state, search_pairs(self._plan, state.system.positions), self._draw(state, 0))
        self._coefficients = _Coefficients(self._integrator.langevin, state)
        self._step_searching = _capture(lambda: self._step(is_searching=True), self._device)
        self._step_plainly = _capture(lambda: self._step(is_searching=False), self._device)

    def advance(self, state: State, n_steps: int) -> bool:
        """Go some steps on from a state, which is not changed; False if the steps must be tried again."""
        memory = self._memory
        memory.load(state)
        self._take_cell(state)
        self._coefficients.heat(state)
        self._forces_of.heat(state.system)
        length = memory.noise.shape[0]
        block = -1
        for k in range(n_steps):
            step = state.step + k
            if step // length != block:
                block = step // length
                memory.noise.copy_(self._draw(state, step).values, non_blocking=True)
                memory.cursor.fill_(step % length)
            is_due = k % self._steps_per_search == 0 and not self._plan.is_permanent
            (self._step_searching if is_due else self._step_plainly)()
        # the one place where the host waits for the device
        if not has_room(self._plan, memory.pairs):
            self._plan = make_room(self._plan, memory.pairs)
            self._prepare(state)
            return False
        if bool(memory.has_left_skin):
            self._steps_per_search //= 2
            return False
        self._steps_per_search = min(self._steps_per_search + 1, self._most_steps_per_search)
        return True

    def leave(self, state: State, n_steps: int) -> tuple[State, StepInfo, float]:
        """Return the state that the memory holds, with energy and virial of `energy.predict`, and the forces' error."""
        memory = self._memory
        moved = wrap_molecules(place_sites(state, memory.positions.clone()))
        skin_list = SkinList(
            pairs=list_pairs(self._plan, moved.system.positions),
            reference=moved.system.positions,
            cell=state.system.cell,
            skin=state.skin_list.skin,
        )
        predicted = compute_forces(replace(moved, skin_list=skin_list), self._force_field)
        moved = replace(
            predicted,
            velocities=memory.velocities.clone(),
            forces=memory.forces.clone(),
            is_alive=memory.is_alive.clone(),
            step=state.step + n_steps,
        )
        has_stopped = bool((state.is_alive & ~moved.is_alive).any())
        info = StepInfo(is_rebuilt=True, has_stopped=has_stopped, displacement=memory.displacement.clone())
        return moved, info, _compare(moved.forces, predicted.forces)

    def _take_cell(self, state: State) -> None:
        """Take the cell of every replica from a state, in place."""
        plan, cell = self._plan, state.system.cell
        if cell is None or cell is self._known_cell or plan.cell is None or plan.inverse is None:
            return
        plan.cell.copy_(cell)
        plan.inverse.copy_(torch.linalg.inv(cell.double()))
        self._known_cell = cell

    def _draw(self, state: State, step: int) -> NoiseBlock:
        if self._integrator.noise == "host":
            return draw_block(state.seed, self._replicas, step=step, n_sites=state.n_sites, device=self._device)
        block = draw_on_device(
            state.seed, self._integrator.n_replicas, step=step, n_sites=state.n_sites, device=self._device
        )
        return replace(block, values=block.values.index_select(1, state.replica))

    def _step(self, *, is_searching: bool) -> None:
        """Go one step on, in place; the equations are those of `Langevin`."""
        memory, c = self._memory, self._coefficients
        noise = memory.noise.index_select(0, memory.cursor % len(memory.noise)).squeeze(0)
        velocities = memory.velocities + c.half_over_mass * memory.forces
        positions = memory.positions + c.half * velocities
        velocities = c.decay * velocities + c.width * noise
        positions = positions + c.half * velocities
        displacement = (positions - memory.positions).norm(dim=2).amax(dim=1)
        # a displacement that is not a number is refused as well
        is_good = displacement <= c.max_displacement
        is_refused = memory.is_alive & ~is_good
        memory.displacement.copy_(torch.where(memory.is_alive, displacement, memory.displacement))
        memory.is_alive.logical_and_(~is_refused)
        is_moving = memory.is_alive[:, None, None]
        memory.positions.copy_(torch.where(is_moving, positions, memory.positions))
        wrapped = (memory.positions - memory.images).view(-1, 3).to(memory.reference.dtype)
        if is_searching:
            memory.take(search_pairs(self._plan, wrapped))
            memory.reference.copy_(wrapped)
        elif not self._plan.is_permanent:
            moved = ((wrapped - memory.reference) ** 2).sum(1).amax()
            memory.has_left_skin.logical_or_(moved > c.farthest**2)
        forces = self._forces_of.compute(wrapped, memory.pairs)
        memory.forces.copy_(forces.view_as(memory.forces))
        velocities = velocities + c.half_over_mass * memory.forces
        memory.velocities.copy_(torch.where(is_moving, velocities, memory.velocities))
        memory.cursor.add_(1)


class _Memory:
    """Everything that changes from step to step, always at the same place."""

    def __init__(self, state: State, pairs: PaddedPairs, noise: NoiseBlock) -> None:
        self.positions, self.velocities = state.positions.clone(), state.velocities.clone()
        self.forces, self.images = state.forces.clone(), state.images.clone()
        self.is_alive = state.is_alive.clone()
        self.displacement = torch.zeros_like(state.temperature)
        self.reference = state.system.positions.clone()
        self.has_left_skin = torch.zeros((), dtype=torch.bool, device=state.positions.device)
        self.noise = noise.values.clone()
        self.cursor = torch.zeros(1, dtype=torch.int64, device=state.positions.device)
        self.pairs = pairs

    def load(self, state: State) -> None:
        """Start from a state."""
        for name in ("positions", "velocities", "forces", "images", "is_alive"):
            getattr(self, name).copy_(getattr(state, name))
        self.has_left_skin.zero_()
        self.pairs.most_pairs.zero_()
        self.pairs.most_in_box.zero_()

    def take(self, found: PaddedPairs) -> None:
        """Keep a new list; counts keep their largest value."""
        for name in ("second", "shifts", "bond_class", "is_used"):
            getattr(self.pairs, name).copy_(getattr(found, name))
        for name in ("most_pairs", "most_in_box"):
            most = getattr(self.pairs, name)
            most.copy_(torch.maximum(most, getattr(found, name)))


class _Coefficients:
    """The constants of a step."""

    def __init__(self, langevin: Langevin, state: State) -> None:
        self.half = 0.5 * langevin.timestep
        self.half_over_mass = self.half / state.masses
        self.decay = math.exp(-langevin.friction * langevin.timestep)
        self.width = torch.empty_like(state.velocities)
        self.heat(state)
        self.max_displacement = state.max_displacement
        # a thousandth is kept back for the rounding of float32 positions
        self.farthest = 0.499 * state.skin_list.skin

    def heat(self, state: State) -> None:
        """Take the temperature of every replica from a state, in place."""
        self.width.copy_(torch.sqrt((1.0 - self.decay**2) * state.thermal_energy / state.masses))


def _compare(found: Float[Tensor, "replicas sites 3"], expected: Float[Tensor, "replicas sites 3"]) -> float:
    """Return the largest difference of the replicas whose forces are finite, relative to their largest force."""
    is_finite = (torch.isfinite(found) & torch.isfinite(expected)).flatten(1).all(1)
    difference = (found - expected).flatten(1).abs().amax(1)[is_finite]
    if not len(difference):
        return 0.0
    largest = float(expected.flatten(1).abs().amax(1)[is_finite].max())
    return float(difference.max()) / largest if largest > 0.0 else float(difference.max())


def draw_on_device(seed: int, n_replicas: int, *, step: int, n_sites: int, device: torch.device) -> NoiseBlock:
    """Return the block of standard normal numbers that covers a step, drawn by a generator of the device.

    The generator is seeded anew for each block from seed and block number, and draws for all replicas that the run
    began with: what a replica gets depends neither on those that stopped nor on interruptions. Other kinds of device
    give other numbers.
    """
    length = max(1, min(_LONGEST_BLOCK, _NUMBERS_PER_BLOCK // (3 * n_sites * n_replicas)))
    index = step // length
    mixed = np.random.SeedSequence([seed, NOISE, index]).generate_state(1, np.uint64)[0]
    generator = torch.Generator(device=device).manual_seed(int(mixed >> np.uint64(1)))
    shape = (length, n_replicas, n_sites, 3)
    return NoiseBlock(index=index, values=torch.randn(shape, generator=generator, dtype=torch.float64, device=device))


def _capture(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return the function as a CUDA graph to replay; on a CPU the function itself. It is run a few times."""
    if device.type != "cuda":
        return function
    # kernels are compiled and tables made before the capture, on another stream as torch asks for
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(_N_WARMUP):
            function()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay
