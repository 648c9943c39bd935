"""HIP-NN-TS: a hierarchically interacting network whose sites sense scalars, vectors and second-rank tensors.

Sources: Lubbers, Smith, Barros, J. Chem. Phys. 148, 241715 (2018), doi 10.1063/1.5011181 (HIP-NN);
Chigaev et al., J. Chem. Phys. 158, 184108 (2023), doi 10.1063/5.0142127 (tensor sensitivities);
Shinkle et al., J. Chem. Theory Comput. 20, 10524 (2024), doi 10.1021/acs.jctc.4c00788 (as a force field of beads).
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from beadsmith.energy import differentiate_pairs
from beadsmith.errors import InputError
from beadsmith.kernels import triton
from beadsmith.kernels.differentiable_prediction import predict_with_graph
from beadsmith.kernels.hipnn import (
    Functions,
    Rows,
    build_rows,
    environment_adjoint,
    message_adjoint,
    sum_environments,
    sum_messages,
)
from beadsmith.kernels.prediction import BlockWeights, PackedNetwork, pack, predict
from beadsmith.networks import sweeps
from beadsmith.networks.angular import N_COMPONENTS, angular_basis
from beadsmith.networks.layers import Block, Interaction, initialise_linear_, linear
from beadsmith.networks.packed_weights import PackedWeights
from beadsmith.networks.radial import InverseSensitivities
from beadsmith.networks.typed_network import AbstractTypedNetwork, check_exclusions
from beadsmith.units import Unit


@dataclass(frozen=True, kw_only=True)
class HipnnSettings:
    """Architecture of a HIP-NN-TS network; the defaults suit a one-site liquid on a laptop.

    The published coarse-graining settings are l_max 2, n_features 128, cutoff 1.5 nm, soft_min 0.2 nm, soft_max 1.3 nm.
    """

    kind: Literal["hipnn"] = "hipnn"
    """The network: HIP-NN with tensor sensitivities."""
    l_max: Literal[0, 1, 2] = 1
    """Highest tensor rank a bead senses: 0 distances, 1 also directions, 2 also second-rank tensors."""
    n_interactions: int = 1
    """Number of interaction blocks; information travels this many cutoffs."""
    n_atom_layers: int = 3
    """Number of layers after each interaction that act on each bead alone."""
    n_features: int = 24
    """Number of features of each bead."""
    n_sensitivities: int = 20
    """Number of radial functions."""
    cutoff: Annotated[float, Unit("nm")] = 1.0
    """Distance at which the energy of a pair and its slope vanish."""
    soft_min: Annotated[float, Unit("nm")] = 0.24
    """Smallest centre of the radial functions; keep it below the shortest distance in the data."""
    soft_max: Annotated[float, Unit("nm")] = 0.87
    """Largest centre of the radial functions; must not exceed the cutoff."""
    cusp: float = 1e-3
    """Number under the square root of tensor norms that keeps forces smooth in symmetric environments; with the 1e-6 of
    the reference implementation they turn around within a step of 1 fs, and energy is conserved less well."""
    energy_scale: Annotated[float, Unit("kJ/mol")] = 10.0
    """Fixed factor of the output; of the order of the energies to learn, it makes early training quick."""
    pair_classes: bool = False
    """Whether bonded pairs (1-2, 1-3, 1-4), farther pairs of one molecule and pairs of two molecules act differently:
    each class then has its own factor for every radial function, to be learned."""
    exclusions: int = 0
    """Pairs of one molecule this many bonds apart or fewer do not enter the network: 1 leaves bonds, 2 also angles and
    3 also dihedrals to the prior. 0 shows it all pairs."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises
        ------
        InputError : a value is out of range.
        """
        check_exclusions(self.exclusions)
        if self.l_max not in (0, 1, 2):
            raise InputError(f"l_max is {self.l_max}, expected 0, 1 or 2")
        for name, smallest in (("n_interactions", 1), ("n_atom_layers", 0), ("n_features", 1), ("n_sensitivities", 2)):
            if getattr(self, name) < smallest:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least {smallest}")
        for name in ("cutoff", "soft_min", "soft_max", "cusp", "energy_scale"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name)}, expected a positive number")
        if not self.soft_min < self.soft_max <= self.cutoff:
            raise InputError(
                f"the radial functions run from soft_min {self.soft_min} nm to soft_max {self.soft_max} nm "
                f"with cutoff {self.cutoff} nm, expected soft_min < soft_max <= cutoff"
            )


class Hipnn(AbstractTypedNetwork):
    """HIP-NN-TS with one-hot bead types as input.

    E_i = energy_scale · Σ_k (w_k · z_i^(k) + b_k): each block's features and the types are read out (b_0 = 0).
    Bonded pairs act as all others do unless the settings ask for classes of pairs.
    """

    kind: ClassVar[str] = "hipnn"
    settings_class: ClassVar[type] = HipnnSettings
    takes_longer_lists: ClassVar[bool] = True

    def __init__(self, settings: HipnnSettings, type_names: tuple[str, ...], n_channels: int = 1) -> None:
        """Make the architecture; see `AbstractTypedNetwork`."""
        super().__init__(settings, type_names, n_channels)
        n_inputs = [len(type_names)] + [settings.n_features] * (settings.n_interactions - 1)
        self.blocks = nn.ModuleList(self._build_block(n_in) for n_in in n_inputs)
        self.type_readout = linear(len(type_names), n_channels, bias=False)
        self.readouts = nn.ModuleList(linear(settings.n_features, n_channels) for _ in n_inputs)
        self._packed: PackedWeights | None = None

    def _build_block(self, n_in: int) -> Block:
        settings = self.settings
        sensitivities = InverseSensitivities(
            settings.n_sensitivities,
            soft_min=settings.soft_min,
            soft_max=settings.soft_max,
            cutoff=settings.cutoff,
            has_classes=settings.pair_classes,
        )
        interaction = Interaction(n_in, settings.n_features, sensitivities, settings.l_max, settings.cusp)
        return Block(interaction, settings.n_atom_layers)

    def initialise_(self, generator: torch.Generator) -> None:
        """Draw all weights as in the reference implementation of HIP-NN-TS."""
        initialise_linear_(self.type_readout, generator)
        for block, readout in self._blocks_and_readouts():
            block.initialise_(generator)
            initialise_linear_(readout, generator)

    def channel_axes(self) -> dict[str, int]:
        """Return the weights of all readouts."""
        blocks = [f"readouts.{k}.{part}" for k in range(len(self.readouts)) for part in ("weight", "bias")]
        return dict.fromkeys(["type_readout.weight", *blocks], 0)

    def forward(
        self,
        types: Int[Tensor, "sites"],
        pair_index: Int[Tensor, "2 pairs"],
        pair_vectors: Float[Tensor, "pairs 3"],
        pair_bond_class: Int[Tensor, "pairs"],
    ) -> Float[Tensor, "sites channels"]:
        """Return site energies [kJ/mol]; plain torch, differentiable any number of times, on any device."""
        return self._evaluate(types, pair_index, pair_vectors, pair_bond_class, sweeps)

    def _evaluate(
        self, types: Tensor, pair_index: Tensor, pair_vectors: Tensor, pair_bond_class: Tensor, sums: Any
    ) -> Float[Tensor, "sites channels"]:
        """Return site energies with sums over neighbours from `networks.sweeps`, or from what takes its place."""
        distances = torch.linalg.vector_norm(pair_vectors, dim=1)
        angular = angular_basis(pair_vectors / distances[:, None], self.settings.l_max)
        features = functional.one_hot(types, len(self.type_names)).to(pair_vectors.dtype)
        energies = self.type_readout(features)
        for k, (block, readout) in enumerate(self._blocks_and_readouts()):
            interaction = block.interaction
            sensitivities = interaction.sensitivities(distances, pair_bond_class)
            if k == 0:
                environments = sums.environment_sums(sensitivities, angular, pair_index, types, len(self.type_names))
                tensors = interaction.contract(environments)
            else:
                tensors = sums.message_sums(sensitivities, angular, pair_index, interaction.project(features))
            features = block(features, tensors)
            energies = energies + readout(features)
        return self.settings.energy_scale * energies

    def pair_gradient(
        self,
        types: Int[Tensor, "sites"],
        pair_index: Int[Tensor, "2 pairs"],
        pair_vectors: Float[Tensor, "pairs 3"],
        pair_bond_class: Int[Tensor, "pairs"],
        channel_weights: Float[Tensor, "sites channels"],
        *,
        create_graph: bool = False,
    ) -> tuple[Float[Tensor, "sites"], Float[Tensor, "pairs 3"]]:
        """Return channel-weighted site energies [kJ/mol] and dE/d(pair vectors) [kJ/mol/nm]; see `AbstractNetwork`.

        On a CPU the sums over neighbours and their adjoints are fused sweeps. Elsewhere autograd does it; on a GPU
        with Triton the sums are fused.

        Raises
        ------
        InputError : the pairs are not sorted, or the vectors have another precision than the weights.
        """
        if self.is_fused and triton.is_usable(pair_vectors.device):
            from beadsmith.kernels.triton.messages import Sums

            sums = Sums()
            return differentiate_pairs(
                lambda vectors: self._evaluate(types, pair_index, vectors, pair_bond_class, sums),
                pair_vectors,
                channel_weights,
                create_graph=create_graph,
            )
        if not self.is_fused or pair_vectors.device.type != "cpu":
            return super().pair_gradient(
                types, pair_index, pair_vectors, pair_bond_class, channel_weights, create_graph=create_graph
            )
        if pair_vectors.dtype != self.type_readout.weight.dtype:
            raise InputError(f"pair vectors are {pair_vectors.dtype}, weights {self.type_readout.weight.dtype}")
        rows = build_rows(
            types, pair_index, pair_vectors, pair_bond_class, n_kinds=len(self.type_names), cutoff=self.cutoff
        )
        if not create_graph:
            return predict(rows, types, self._pack(), channel_weights)
        if self.settings.n_interactions == 1:
            with torch.enable_grad():
                (block,), constants = self._list_weights()
                return predict_with_graph(rows, types, block, constants, self.settings.cusp, channel_weights)
        return self._sweep(rows, types, channel_weights)

    @torch.no_grad()
    def _pack(self) -> PackedNetwork:
        """Return all numbers of the network as kernels that need no autograd want them; frozen ones are packed once."""
        if self._packed is not None and self._packed.is_current():
            return self._packed.network
        packed = pack(*self._list_weights(), self.settings.cusp)
        is_frozen = not any(parameter.requires_grad for parameter in self.parameters())
        self._packed = PackedWeights(self, packed) if is_frozen else None
        return packed

    def _list_weights(self) -> tuple[list[BlockWeights], Tensor]:
        """Return the weights of all blocks, and the energy of a site of each type without any block."""
        scale, blocks = self.settings.energy_scale, []
        constants = scale * self.type_readout.weight
        for block, readout in self._blocks_and_readouts():
            interaction, projection = block.interaction, block.residual.projection
            constants = constants + scale * readout.bias[:, None]
            blocks.append(
                BlockWeights(
                    functions=interaction.sensitivities.exponents(),
                    interaction=interaction.weights,
                    tensor_scales=interaction.tensor_scales,
                    self_interaction=(interaction.self_interaction.weight, interaction.self_interaction.bias),
                    projection=None if projection is None else projection.weight,
                    layers=[(layer.weight, layer.bias) for layer in block.linear_layers()],
                    readout=scale * readout.weight,
                )
            )
        return blocks, constants

    @torch.enable_grad()
    def _sweep(self, rows: Rows, types: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Run through the blocks and back.

        Autograd differentiates only what happens on each site, between two sweeps: the sums of a sweep and the
        features that enter a block are cut off from what made them, and the adjoint sweeps join the pieces.
        """

        def cut(tensor: Tensor) -> Tensor:
            return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()

        n_components = N_COMPONENTS[self.settings.l_max]
        scaled = self.settings.energy_scale * weights
        features = functional.one_hot(types, rows.n_kinds).to(weights.dtype)
        energies = (self.type_readout(features) * scaled).sum(1)
        stages: list[_Stage] = []
        for block, readout in self._blocks_and_readouts():
            functions = block.interaction.sensitivities.exponents()
            if stages:
                projected = block.interaction.project(features)
                entering, sums = cut(features), cut(sum_messages(rows, functions, projected, n_components))
                tensors = sums
            else:
                projected = None
                entering, sums = features, cut(sum_environments(rows, functions, n_components))
                tensors = block.interaction.contract(sums)
            features = block(entering, tensors)
            own = (readout(features) * scaled).sum(1)
            energies = energies + own
            stages.append(_Stage(block.interaction, functions, entering, projected, sums, features, own))
        return energies, _sweep_back(rows, stages)

    def _blocks_and_readouts(self) -> list[tuple[Block, nn.Linear]]:
        return cast("list[tuple[Block, nn.Linear]]", list(zip(self.blocks, self.readouts, strict=True)))


@dataclass(frozen=True)
class _Stage:
    """What the way back through one block needs."""

    interaction: Interaction
    functions: Functions
    entering: Tensor
    """Features that enter the block, cut off from the block before."""
    projected: Tensor | None
    """What sites send to their neighbours; None in the first block, where they send their type."""
    sums: Tensor
    """Sums over neighbours, cut off from the sweep."""
    features: Tensor
    energies: Tensor


def _sweep_back(rows: Rows, stages: list[_Stage]) -> Tensor:
    """Return dE/d(pair vectors) from the last block to the first."""
    gradient: Tensor | float = 0.0
    from_next: Tensor | None = None
    for stage in reversed(stages):
        outputs, seeds = [stage.energies], [torch.ones_like(stage.energies)]
        if from_next is not None:
            outputs, seeds = [*outputs, stage.features], [*seeds, from_next]
        if stage.projected is None:
            (on_sums,) = torch.autograd.grad(outputs, stage.sums, seeds, create_graph=True)
            return gradient + environment_adjoint(rows, stage.functions, on_sums)
        on_sums, direct = torch.autograd.grad(outputs, (stage.sums, stage.entering), seeds, create_graph=True)
        own, on_projected = message_adjoint(rows, stage.functions, stage.projected, on_sums)
        from_next = direct + stage.interaction.project_back(on_projected)
        gradient = gradient + own
    raise AssertionError("the first stage has no projected features")
