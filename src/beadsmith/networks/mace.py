"""MACE: equivariant messages whose products describe many bodies at once.

Each layer sums, over the neighbours, couplings of their features with the spherical harmonics of the direction (the
one-particle basis A), and then takes symmetric products of up to ν copies of A on each site.

Sources: Batatia, Kovács, Simm, Ortner, Csányi, NeurIPS 35, 11423 (2022), arXiv 2206.07697 (MACE);
F. Görlich, J. Zavadlav, J. Chem. Inf. Model. (2026), doi 10.1021/acs.jcim.5c03035 (as a force field of beads).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beadsmith.energy import differentiate_pairs
from beadsmith.errors import InputError
from beadsmith.kernels import triton
from beadsmith.kernels.mace import (
    Neighbourhoods,
    PairRows,
    build_neighbourhoods,
    build_pair_rows,
    sum_tensor_messages,
    tensor_message_adjoint,
    tensor_message_gradient,
)
from beadsmith.networks.contraction import SymmetricContraction
from beadsmith.networks.coupling import list_paths
from beadsmith.networks.frozen_mace import FrozenLayer, predict, read_out_with_slope
from beadsmith.networks.frozen_tables import FrozenTables
from beadsmith.networks.mace_layers import MaceLayer, RadialNetwork, mix, scaled_silu
from beadsmith.networks.radial_table import RadialTable
from beadsmith.networks.spherical_harmonics import spherical_harmonics
from beadsmith.networks.tensor_sweeps import SumCouplings, sum_couplings, tensor_messages
from beadsmith.networks.typed_network import AbstractTypedNetwork, check_exclusions
from beadsmith.units import Unit

_N_BOND_CLASSES = 5


@dataclass(frozen=True, kw_only=True)
class MaceSettings:
    """Architecture of a MACE network; the defaults suit a laptop.

    The published coarse-graining settings are n_features 32, l_max_hidden 1, l_max 3, correlation 2 and a cutoff with
    about 20 neighbours.
    """

    kind: Literal["mace"] = "mace"
    """The network: MACE, equivariant messages and their symmetric products."""
    n_features: int = 16
    """Number of channels: features of each degree of each bead."""
    l_max_hidden: Literal[0, 1, 2] = 1
    """Highest degree of the features that are passed on: 0 scalars, 1 also vectors, 2 also second-rank tensors."""
    l_max: Literal[1, 2, 3] = 2
    """Highest degree of the spherical harmonics of directions."""
    correlation: Literal[1, 2, 3] = 2
    """Number of neighbours that one product takes together; 1 gives sums over pairs, 2 angles, 3 dihedrals."""
    n_layers: Literal[1, 2, 3] = 2
    """Number of message-passing layers; information travels this many cutoffs."""
    symmetry: Literal["O(3)", "SO(3)"] = "O(3)"
    """O(3): mirror images have one energy. SO(3): they can differ, for beads that do not show the atoms' chirality."""
    cutoff: Annotated[float, Unit("nm")] = 0.8
    """Distance at which the energy of a pair and its slope vanish."""
    average_neighbors: float = 30.0
    """Typical number of neighbours within the cutoff; sums over neighbours are divided by it."""
    n_radial: int = 8
    """Number of Bessel functions of the distance."""
    envelope_power: int = 6
    """Power p of the polynomial that takes the Bessel functions to zero at the cutoff."""
    radial_widths: tuple[int, ...] = (64, 64, 64)
    """Widths of the hidden layers of the radial networks."""
    n_readout: int = 16
    """Width of the hidden layer of the last readout."""
    first_layer: Literal["plain", "residual"] = "plain"
    """plain: the sums of the first layer are mixed by type. residual: it adds a term of the type, as all others do."""
    pair_classes: bool = False
    """Whether the radial networks know how two beads are bonded (1-2, 1-3, 1-4, same molecule, other molecule)."""
    exclusions: int = 0
    """Pairs of one molecule this many bonds apart or fewer do not enter the network: 1 leaves bonds, 2 also angles and
    3 also dihedrals to the prior. 0 shows it all pairs."""
    n_knots: int = 512
    """Number of intervals of the radial tables; 0 evaluates the radial networks at every pair, exactly but slowly."""
    energy_scale: Annotated[float, Unit("kJ/mol")] = 10.0
    """Fixed factor of the output; of the order of the energies to learn, it makes early training quick."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises
        ------
        InputError : a value is out of range, or an SO(3) network could not tell mirror images apart.
        """
        check_exclusions(self.exclusions)
        choices: dict[str, tuple[int | str, ...]] = {
            "l_max_hidden": (0, 1, 2),
            "l_max": (1, 2, 3),
            "correlation": (1, 2, 3),
            "n_layers": (1, 2, 3),
            "symmetry": ("O(3)", "SO(3)"),
            "first_layer": ("residual", "plain"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(map(str, allowed))}")
        for name, smallest in (("n_features", 1), ("n_radial", 1), ("n_readout", 1), ("envelope_power", 2)):
            if getattr(self, name) < smallest:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least {smallest}")
        if not all(width >= 1 for width in self.radial_widths):
            raise InputError(f"radial_widths are {self.radial_widths}, expected positive numbers")
        for name in ("cutoff", "average_neighbors", "energy_scale"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name)}, expected a positive number")
        if self.n_knots != 0 and self.n_knots < 16:
            raise InputError(f"n_knots is {self.n_knots}, expected 0 or at least 16")
        if self.l_max_hidden > self.l_max:
            raise InputError(f"l_max_hidden is {self.l_max_hidden}, expected at most l_max, {self.l_max}")
        self._check_chirality()

    def _check_chirality(self) -> None:
        """Refuse SO(3) networks whose every energy is that of the mirror image."""
        blind = {
            "correlation": ("2 or 3", self.correlation >= 2),
            "n_layers": ("2 or 3", self.n_layers >= 2),
            "l_max_hidden": ("1 or 2", self.l_max_hidden >= 1),
        }
        for name, (expected, is_met) in blind.items():
            if self.symmetry == "SO(3)" and not is_met:
                raise InputError(
                    f"{name} is {getattr(self, name)}, expected {expected} with symmetry SO(3): this network would not "
                    f"tell mirror images apart",
                    fix=f"Set {name} to {expected}, or symmetry to O(3).",
                )


class Mace(AbstractTypedNetwork):
    """MACE with one-hot bead types as input.

    E_i = energy_scale · Σ_t readout_t(h_i^(t)): linear in the scalars of all layers but the last, a network with one
    hidden layer for the last (linear where there is one layer only). No energy is assigned to types. With tables the
    tabulated radial functions are the model. Directions point from a bead to its neighbours.
    """

    kind: ClassVar[str] = "mace"
    settings_class: ClassVar[type] = MaceSettings
    takes_longer_lists: ClassVar[bool] = True

    def __init__(self, settings: MaceSettings, type_names: tuple[str, ...], n_channels: int = 1) -> None:
        """Make the architecture; see `AbstractTypedNetwork`."""
        super().__init__(settings, type_names, n_channels)
        n, last = settings.n_features, settings.n_layers - 1
        self.table = RadialTable(settings.n_knots, settings.cutoff) if settings.n_knots else None
        self.embedding = nn.Parameter(torch.zeros(len(type_names), n))
        """Scalar features of each type."""
        self.layers = nn.ModuleList(self._build_layer(k) for k in range(settings.n_layers))
        self.readouts = nn.ParameterList(torch.zeros(n, n_channels) for _ in range(max(last, 1)))
        """Of each layer's scalars, linear; all layers but the last, or the only one."""
        self.last_readout = nn.ParameterList(
            [torch.zeros(n, settings.n_readout), torch.zeros(settings.n_readout, n_channels)] if last else []
        )
        """Hidden layer and output of the last readout."""
        self._frozen: tuple[FrozenTables, list[FrozenLayer]] | None = None

    def _build_layer(self, number: int) -> MaceLayer:
        settings = self.settings
        is_natural = settings.symmetry == "O(3)"
        paths = list_paths(settings.l_max_hidden if number else 0, settings.l_max, natural_parity=is_natural)
        radial = RadialNetwork(
            settings.n_radial,
            widths=(*settings.radial_widths, len(paths) * settings.n_features),
            cutoff=settings.cutoff,
            power=settings.envelope_power,
            n_classes=_N_BOND_CLASSES if settings.pair_classes else 1,
        )
        contraction = SymmetricContraction(
            settings.l_max,
            settings.l_max_hidden if number < settings.n_layers - 1 else 0,
            settings.correlation,
            n_types=len(self.type_names),
            n_features=settings.n_features,
            natural_parity=is_natural,
        )
        is_plain = number == 0 and settings.first_layer == "plain"
        return MaceLayer(paths, radial, contraction, average_neighbors=settings.average_neighbors, is_plain=is_plain)

    def initialise_(self, generator: torch.Generator) -> None:
        """Draw all weights as in the reference implementation: standard normal, products by number of couplings."""
        for name, parameter in self.named_parameters():
            if ".contraction." not in name:
                nn.init.normal_(parameter, generator=generator)
        for layer in self._layers():
            layer.contraction.initialise_(generator)

    def channel_axes(self) -> dict[str, int]:
        """Return the last matrices of all readouts."""
        axes = {f"readouts.{k}": 1 for k in range(len(self.readouts))}
        return axes | ({"last_readout.1": 1} if len(self.last_readout) else {})

    def forward(
        self,
        types: Int[Tensor, "sites"],
        pair_index: Int[Tensor, "2 pairs"],
        pair_vectors: Float[Tensor, "pairs 3"],
        pair_bond_class: Int[Tensor, "pairs"],
    ) -> Float[Tensor, "sites channels"]:
        """Return site energies [kJ/mol]; plain torch, differentiable any number of times, on any device."""
        return self._evaluate_sites(types, pair_index, pair_vectors, pair_bond_class, sum_couplings)

    def _evaluate_sites(
        self, types: Tensor, pair_index: Tensor, pair_vectors: Tensor, pair_bond_class: Tensor, sum_pairs: SumCouplings
    ) -> Float[Tensor, "sites channels"]:
        distances = torch.linalg.vector_norm(pair_vectors, dim=1)
        harmonics = spherical_harmonics(pair_vectors / distances[:, None], self.settings.l_max)
        features = self._embed(types)
        energies = features.new_zeros(len(types), self.n_channels)
        for k, layer in enumerate(self._layers()):
            radial = self._evaluate(layer.radial, distances, pair_bond_class).unflatten(1, (len(layer.paths), -1))
            sums = tensor_messages(radial, harmonics, pair_index, layer.project(features), layer.paths, sum_pairs)
            features = layer.update(features, sums, types)
            energies = energies + self._read_out(k, features)
        return energies

    def _embed(self, types: Int[Tensor, "sites"]) -> Float[Tensor, "1 sites features"]:
        """Return the features that enter the first layer: scalars, by type."""
        return (self.embedding * len(self.type_names) ** -0.5).index_select(0, types)[None]

    def _evaluate(self, radial: RadialNetwork, distances: Tensor, bond_class: Tensor) -> Tensor:
        """Return the radial functions of each pair, from their table if there is one."""
        if self.table is None:
            return radial(distances, bond_class)
        starts = bond_class * self.table.n_rows if radial.n_classes > 1 else None
        return self.table.interpolate(radial.tabulate(self.table).flatten(0, 1), distances, starts)

    def _read_out(
        self, number: int, features: Float[Tensor, "components sites features"]
    ) -> Float[Tensor, "sites channels"]:
        """Return the site energies [kJ/mol] in the scalars that leave a layer."""
        *hidden, last = self._readout_of(number)
        values = features[0]
        for weight in hidden:
            values = scaled_silu(mix(values, weight))
        return self.settings.energy_scale * mix(values, last)

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

        With tables on a CPU the sums over neighbours and their adjoints are fused sweeps. Else autograd does it; on a
        GPU with Triton the sums are fused.

        Raises
        ------
        InputError : the pairs are not sorted, or the vectors have another precision than the weights.
        """
        if self.is_fused and triton.is_usable(pair_vectors.device):
            from beadsmith.kernels.triton.couplings import CouplingSums

            sum_pairs = CouplingSums()
            return differentiate_pairs(
                lambda vectors: self._evaluate_sites(types, pair_index, vectors, pair_bond_class, sum_pairs),
                pair_vectors,
                channel_weights,
                create_graph=create_graph,
            )
        if self.table is None or not self.is_fused or pair_vectors.device.type != "cpu":
            return super().pair_gradient(
                types, pair_index, pair_vectors, pair_bond_class, channel_weights, create_graph=create_graph
            )
        if pair_vectors.dtype != self.embedding.dtype:
            raise InputError(f"pair vectors are {pair_vectors.dtype}, weights {self.embedding.dtype}")
        rows = build_pair_rows(pair_index, pair_vectors, n_sites=len(types), cutoff=self.cutoff)
        classes = pair_bond_class if self.settings.pair_classes else None
        if create_graph:
            with torch.enable_grad():
                return self._sweep(rows, classes, types, channel_weights)
        with torch.no_grad():
            layers = self._freeze()
            where = build_neighbourhoods(rows, classes, layers[0].table)
            embedding = self.embedding * len(self.type_names) ** -0.5
            weights = channel_weights * self.settings.energy_scale

            def read_out(number: int, scalars: Tensor) -> tuple[Tensor, Tensor]:
                return read_out_with_slope(scalars, self._readout_of(number), weights)

            return predict(layers, where, embedding, types, read_out)

    def _sweep(self, rows: PairRows, classes: Tensor | None, types: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Run through the layers and back, for training.

        Autograd differentiates only what happens on each site, between two sweeps: the sums of a sweep and the
        features that enter a layer are cut off from what made them, and the adjoint sweeps join the pieces.
        """

        def cut(tensor: Tensor) -> Tensor:
            return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()

        grid = cast("RadialTable", self.table)
        tables = [layer.radial.tabulate(grid) for layer in self._layers()]
        where = build_neighbourhoods(rows, classes, tables[0])
        features = self._embed(types)
        energies: Tensor | float = 0.0
        stages: list[_Stage] = []
        for k, (layer, table) in enumerate(zip(self._layers(), tables, strict=True)):
            sent = layer.project(features)
            entering = cut(features) if k else features
            sums = cut(sum_tensor_messages(where, layer.tensor_paths, table, sent))
            features = layer.update(entering, sums, types, is_fused=True)
            own = (self._read_out(k, features) * weights).sum(1)
            energies = energies + own
            stages.append(_Stage(layer, table, entering, sent, sums, features, own))
        return cast("Tensor", energies), _sweep_back(where, stages)

    def _readout_of(self, number: int) -> list[Tensor]:
        """Return the matrices of the readout of a layer: one, or those of two layers."""
        is_last = len(self.last_readout) > 0 and number == self.settings.n_layers - 1
        return list(self.last_readout) if is_last else [self.readouts[number]]

    def _freeze(self) -> list[FrozenLayer]:
        """Return what simulations need of the layers; that of frozen weights is made once."""
        parameters = [weight for layer in self._layers() for weight in layer.parameters()]
        is_frozen = not any(parameter.requires_grad for parameter in parameters)
        if is_frozen and self._frozen is not None and self._frozen[0].are_of(parameters):
            return self._frozen[1]
        table = cast("RadialTable", self.table)
        layers = [FrozenLayer(layer, layer.radial.tabulate(table)) for layer in self._layers()]
        self._frozen = (FrozenTables(parameters, []), layers) if is_frozen else None
        return layers

    def _layers(self) -> list[MaceLayer]:
        return cast("list[MaceLayer]", list(self.layers))


@dataclass(frozen=True)
class _Stage:
    """What the way back through one layer needs."""

    layer: MaceLayer
    table: Tensor
    entering: Tensor
    """Features that enter the layer, cut off from the layer before."""
    sent: Tensor
    """What sites send to their neighbours."""
    sums: Tensor
    """Sums over neighbours, cut off from the sweep."""
    features: Tensor
    energies: Tensor


def _sweep_back(where: Neighbourhoods, stages: list[_Stage]) -> Tensor:
    """Return dE/d(pair vectors) from the last layer to the first."""
    gradient: Tensor | float = 0.0
    from_next: Tensor | None = None
    for stage in reversed(stages):
        outputs, seeds = [stage.energies], [torch.ones_like(stage.energies)]
        if from_next is not None:
            outputs, seeds = [*outputs, stage.features], [*seeds, from_next]
        sweep = (where, stage.layer.tensor_paths, stage.table, stage.sent)
        if stage is stages[0]:
            (on_sums,) = torch.autograd.grad(outputs, stage.sums, seeds, create_graph=True)
            return gradient + tensor_message_gradient(*sweep, on_sums)
        on_sums, direct = torch.autograd.grad(outputs, (stage.sums, stage.entering), seeds, create_graph=True)
        own, on_sent = tensor_message_adjoint(*sweep, on_sums)
        from_next = direct + stage.layer.project_back(on_sent)
        gradient = gradient + own
    raise AssertionError("a network has a first layer")
