"""SchNet: sites exchange features through filters that are continuous functions of distance.

With one-hot bead types and L interactions:
x⁰_i = embedding of the type;  z_i = A x_i;  y_i = Σ_j W(r_ij) ∘ z_j;  x_i ← x_i + V₂ act(V₁ y_i + c₁) + c₂;
W(r) = f_c(r) · (B₂ act(B₁ e(r) + b₁) + b₂) with a radial basis e and the cosine cutoff f_c;
E_i = energy_scale · output network (x_i).

Sources: Schütt et al., J. Chem. Phys. 148, 241722 (2018), doi 10.1063/1.5019779 (SchNet);
Husic et al., J. Chem. Phys. 153, 194101 (2020), doi 10.1063/5.0026133 (CGSchNet: coarse-graining, tanh).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from beadsmith.errors import InputError
from beadsmith.kernels import schnet, triton
from beadsmith.kernels.activations import KINDS, activate_
from beadsmith.kernels.schnet import FilterRows
from beadsmith.neighbors import SAME_MOLECULE
from beadsmith.networks.activations import ActivationName, activate, activate_with_slope
from beadsmith.networks.frozen_tables import FrozenTables
from beadsmith.networks.layers import linear
from beadsmith.networks.radial_bases import BasisName, build_radial_basis, cosine_cutoff
from beadsmith.networks.radial_table import RadialTable
from beadsmith.networks.schnet_prediction import collect_parameters, fold, predict
from beadsmith.networks.typed_network import AbstractTypedNetwork, check_exclusions
from beadsmith.units import Unit

_N_PAIR_CLASSES = SAME_MOLECULE + 1

Activation = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns activations and slopes."""


@dataclass(frozen=True, kw_only=True)
class SchnetSettings:
    """Architecture of a SchNet; the defaults suit a one-site liquid on a laptop.

    Published coarse-graining settings have 128 features and filters and tanh: 5 interactions and 50 Gaussians to 0.5 nm
    (capped alanine), or 2 interactions and 64 exponential normals to 3 nm (chignolin).
    """

    kind: Literal["schnet"] = "schnet"
    """The network: SchNet with continuous filters."""
    n_features: int = 64
    """Number of features of each bead."""
    n_filters: int = 64
    """Number of filters, the features that beads exchange; usually equal to n_features."""
    n_interactions: int = 2
    """Number of interaction blocks; information travels this many cutoffs."""
    cutoff: Annotated[float, Unit("nm")] = 1.0
    """Distance at which the energy of a pair and its slope vanish."""
    radial_basis: BasisName = "gaussian"
    """Functions of distance that filters are made of: Gaussians, exponential normals or spherical Bessel functions."""
    n_radial: int = 50
    """Number of functions in the radial basis."""
    radial_start: Annotated[float, Unit("nm")] = 0.0
    """First centre of the Gaussians, or largest distance of the first exponential normal; 0 for Bessel functions."""
    activation: ActivationName = "tanh"
    """Activation function; tanh gives the most stable coarse-grained simulations, shifted_softplus is the original."""
    n_output_layers: int = 1
    """Number of hidden layers of the output network."""
    n_output_features: int = 32
    """Width of the hidden layers of the output network."""
    pair_classes: bool = False
    """Whether filters know if two beads are bonded, 1-3, 1-4, in one molecule or in different ones."""
    exclusions: int = 0
    """Pairs of one molecule this many bonds apart or fewer do not enter the network: 1 leaves bonds, 2 also angles and
    3 also dihedrals to the prior. 0 shows it all pairs."""
    n_knots: int = 1024
    """Number of intervals of the radial tables of the filters; 0 evaluates filters at every pair, slowly and exactly.
    With the default and Gaussians, filters are off by about 1e-5 and their slopes by 1e-4 of the largest. 50 Bessel
    functions need more: 1,024 intervals are off by 5.8e-5 in value and 4.7e-4 in slope."""
    energy_scale: Annotated[float, Unit("kJ/mol")] = 10.0
    """Fixed factor of the output; of the order of the energies to learn, it makes early training quick."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises
        ------
        InputError : a value is out of range.
        """
        check_exclusions(self.exclusions)
        sizes = (("n_features", 1), ("n_filters", 1), ("n_interactions", 1), ("n_radial", 2))
        for name, smallest in (*sizes, ("n_output_layers", 0), ("n_output_features", 1)):
            if getattr(self, name) < smallest:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least {smallest}")
        for name, choices in (("radial_basis", BasisName), ("activation", ActivationName)):
            if getattr(self, name) not in get_args(choices):
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(get_args(choices))}")
        for name in ("cutoff", "energy_scale"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name)}, expected a positive number")
        if not 0.0 <= self.radial_start < self.cutoff:
            raise InputError(f"radial_start is {self.radial_start} nm, expected 0 to cutoff {self.cutoff} nm")
        if self.radial_basis == "bessel" and self.radial_start != 0.0:
            raise InputError(f"radial_start is {self.radial_start} nm, but Bessel functions start at 0")
        if self.n_knots != 0 and self.n_knots < 16:
            raise InputError(f"n_knots is {self.n_knots}, expected 0 (no tables) or at least 16")


class FilterNetwork(nn.Module):
    """The filters W of one interaction: a function of distance and, on demand, of the pair's class."""

    def __init__(self, settings: SchnetSettings) -> None:
        """Make the radial basis and two layers."""
        super().__init__()
        self.cutoff, self.activation = settings.cutoff, settings.activation
        self.n_classes = _N_PAIR_CLASSES if settings.pair_classes else 0
        self.basis = build_radial_basis(
            settings.radial_basis, settings.n_radial, start=settings.radial_start, cutoff=settings.cutoff
        )
        self.hidden = linear(settings.n_radial + self.n_classes, settings.n_filters)
        self.output = linear(settings.n_filters, settings.n_filters)
        self._basis_values: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def forward(
        self, distances: Float[Tensor, "pairs"], pair_bond_class: Int[Tensor, "pairs"]
    ) -> Float[Tensor, "pairs filters"]:
        """Return the filters of pairs at the given distances [nm]."""
        inputs = self.basis(distances)
        if self.n_classes:
            one_hot = functional.one_hot(pair_bond_class, self.n_classes).to(inputs.dtype)
            inputs = torch.cat([inputs, one_hot], dim=1)
        filters = self.output(activate(self.activation, self.hidden(inputs)))
        return cosine_cutoff(distances, self.cutoff)[:, None] * filters

    def tabulate(self, table: RadialTable) -> Float[Tensor, "rows filters"]:
        """Return the coefficients of all filters, the tables of the pair classes one below the other."""
        weight = self.hidden.weight

        def filters_of_all_classes(distances: Tensor) -> Tensor:
            # the class only shifts what enters the hidden layer
            n_functions = weight.shape[1] - self.n_classes
            inputs = functional.linear(self._basis_at(distances), weight[:, :n_functions], self.hidden.bias)
            if self.n_classes:
                inputs = inputs + weight[:, n_functions:].T[:, None, :]
            filters = self.output(activate(self.activation, inputs))
            return cosine_cutoff(distances, self.cutoff)[:, None] * filters

        return table.tabulate(filters_of_all_classes, weight).flatten(0, -2)

    def _basis_at(self, knots: Tensor) -> Tensor:
        """Return the basis at the knots of the table, which are always the same."""
        key = (knots.dtype, knots.device)
        if key not in self._basis_values:
            self._basis_values = {key: self.basis(knots)}
        return self._basis_values[key]


class Exchange(nn.Module):
    """What a site does before and after the sum over its neighbours in one interaction."""

    def __init__(self, settings: SchnetSettings) -> None:
        """Make A, V₁ and V₂."""
        super().__init__()
        self.send = linear(settings.n_features, settings.n_filters, bias=False)
        self.receive = linear(settings.n_filters, settings.n_features)
        self.update = linear(settings.n_features, settings.n_features)


class Schnet(AbstractTypedNetwork):
    """SchNet of a liquid or of molecules; the tabulated filters, where there are tables, are the model."""

    kind: ClassVar[str] = "schnet"
    settings_class: ClassVar[type] = SchnetSettings
    takes_longer_lists: ClassVar[bool] = True

    def __init__(self, settings: SchnetSettings, type_names: tuple[str, ...], n_channels: int = 1) -> None:
        """Make the architecture; see `AbstractTypedNetwork`."""
        super().__init__(settings, type_names, n_channels)
        self.table = RadialTable(settings.n_knots, settings.cutoff) if settings.n_knots else None
        self.embedding = nn.Parameter(torch.zeros(len(type_names), settings.n_features))
        self.filters = nn.ModuleList(FilterNetwork(settings) for _ in range(settings.n_interactions))
        self.exchanges = nn.ModuleList(Exchange(settings) for _ in range(settings.n_interactions))
        widths = [settings.n_features] + [settings.n_output_features] * settings.n_output_layers
        self.output_layers = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        self.readout = linear(widths[-1], n_channels)
        self._frozen: FrozenTables | None = None
        self._tables: FrozenTables | None = None

    def initialise_(self, generator: torch.Generator) -> None:
        """Draw the embedding standard normal and all matrices Xavier uniform; biases are zero."""
        nn.init.normal_(self.embedding, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def channel_axes(self) -> dict[str, int]:
        """Return the weights of the last layer of the output network."""
        return {"readout.weight": 0, "readout.bias": 0}

    def forward(
        self,
        types: Int[Tensor, "sites"],
        pair_index: Int[Tensor, "2 pairs"],
        pair_vectors: Float[Tensor, "pairs 3"],
        pair_bond_class: Int[Tensor, "pairs"],
    ) -> Float[Tensor, "sites channels"]:
        """Return site energies [kJ/mol]; plain torch, differentiable any number of times, on any device."""
        first, second = pair_index
        distances = torch.linalg.vector_norm(pair_vectors, dim=1)
        features = self.embedding.index_select(0, types)
        for filters, exchange in self._interactions():
            messages = self._evaluate(filters, distances, pair_bond_class)
            messages = messages * exchange.send(features).index_select(0, second)
            sums = messages.new_zeros(len(types), messages.shape[1]).index_add(0, first, messages)
            features = features + exchange.update(activate(self.settings.activation, exchange.receive(sums)))
        for layer in self.output_layers:
            features = activate(self.settings.activation, layer(features))
        return self.settings.energy_scale * self.readout(features)

    def _evaluate(self, filters: FilterNetwork, distances: Tensor, pair_bond_class: Tensor) -> Tensor:
        """Return the filters of each pair, from their table if there is one."""
        if self.table is None:
            return filters(distances, pair_bond_class)
        starts = pair_bond_class * self.table.n_rows if filters.n_classes else None
        return self.table.interpolate(filters.tabulate(self.table), distances, starts)

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

        With tables the sums over neighbours and their adjoints are fused sweeps, on a CPU and on a GPU with Triton;
        else autograd does it.

        Raises
        ------
        InputError : the pairs are not sorted, or the vectors have another precision than the weights.
        """
        is_on_gpu = triton.is_usable(pair_vectors.device)
        if self.table is None or not self.is_fused or not (is_on_gpu or pair_vectors.device.type == "cpu"):
            return super().pair_gradient(
                types, pair_index, pair_vectors, pair_bond_class, channel_weights, create_graph=create_graph
            )
        if pair_vectors.dtype != self.embedding.dtype:
            raise InputError(f"pair vectors are {pair_vectors.dtype}, weights {self.embedding.dtype}")
        sweeps = _find_gpu_sweeps() if is_on_gpu else schnet
        rows = sweeps.build_filter_rows(
            pair_index,
            pair_vectors,
            pair_bond_class if self.settings.pair_classes else None,
            n_sites=len(types),
            n_intervals=self.table.n_intervals,
            cutoff=self.cutoff,
        )
        scaled = self.settings.energy_scale * channel_weights
        if is_on_gpu and not create_graph:
            with torch.no_grad():
                return self._sweep(sweeps, rows, types, scaled, self._keep_tables())
        if create_graph:
            return self._sweep(sweeps, rows, types, scaled, self._make_tables())
        return self._predict(rows, types, scaled)

    def _sweep(
        self, sweeps: ModuleType, rows: Any, types: Tensor, weights: Tensor, tables: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Run through the network and back: the adjoint of each line of `forward`, written out."""
        name = self.settings.activation
        features = self.embedding.index_select(0, types)
        sent: list[Tensor] = []
        slopes: list[Tensor] = []
        for table, (_, exchange) in zip(tables, self._interactions(), strict=True):
            # at first all sites of a type send the same
            sent.append(exchange.send(features) if sent else exchange.send(self.embedding).index_select(0, types))
            received = exchange.receive(sweeps.sum_filtered(rows, table, sent[-1]))
            activated, slope = activate_with_slope(name, received)
            slopes.append(slope)
            features = features + exchange.update(activated)
        hidden = self._first_output(features)
        energies, on_hidden = self._read_out(hidden, weights, lambda z: activate_with_slope(name, z))
        adjoint = on_hidden @ self._first_output.weight
        by_distance: Tensor | float = 0.0
        for k in reversed(range(len(tables))):
            exchange = cast("Exchange", self.exchanges[k])
            on_sums = ((adjoint @ exchange.update.weight) * slopes[k]) @ exchange.receive.weight
            if k == 0:
                by_distance = by_distance + sweeps.filter_slopes(rows, tables[k], sent[k], on_sums)
            else:
                on_sent, own = sweeps.filter_adjoint(rows, tables[k], sent[k], on_sums)
                adjoint = adjoint + on_sent @ exchange.send.weight
                by_distance = by_distance + own
        return energies, sweeps.spread_slopes(rows, cast("Tensor", by_distance))

    def _read_out(self, hidden: Tensor, weights: Tensor, activate_first: Activation) -> tuple[Tensor, Tensor]:
        """Return site energies and their derivatives by what the first layer of the output network returns."""
        if not self.output_layers:
            return (hidden * weights).sum(1), weights
        slopes: list[Tensor] = []
        features, slope = activate_first(hidden)
        slopes.append(slope)
        for layer in list(self.output_layers)[1:]:
            features, slope = activate_with_slope(self.settings.activation, layer(features))
            slopes.append(slope)
        adjoint = weights @ self.readout.weight
        energies = (features * adjoint).sum(1) + weights @ self.readout.bias
        for layer, slope in zip(reversed(list(self.output_layers)[1:]), reversed(slopes[1:]), strict=True):
            adjoint = (adjoint * slope) @ cast("nn.Linear", layer).weight
        return energies, adjoint * slopes[0]

    @property
    def _first_output(self) -> nn.Linear:
        return cast("nn.Linear", self.output_layers[0] if self.output_layers else self.readout)

    @torch.no_grad()
    def _predict(self, rows: FilterRows, types: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Hand all numbers of the network to kernels that need no autograd."""
        kind, width = self.settings.activation, self._first_output.out_features

        def read_out(outputs: Tensor) -> tuple[Tensor, Tensor]:
            slopes = torch.empty_like(outputs)

            def activate_in_place(hidden: Tensor) -> tuple[Tensor, Tensor]:
                activate_(KINDS[kind], outputs.numpy().reshape(-1), slopes.numpy().reshape(-1))
                return hidden, slopes[:, :width]

            energies, adjoint = self._read_out(outputs[:, :width], weights, activate_in_place)
            n_padded = outputs.shape[1] - width
            return energies, functional.pad(adjoint, (0, n_padded)) if n_padded else adjoint

        return predict(rows, types, self._fold(), kind, read_out)

    def _fold(self) -> list[Tensor]:
        """Return tables and folded weights; those of frozen weights are made once."""
        parameters = collect_parameters(self)
        if self._frozen is not None and self._frozen.are_of(parameters):
            return self._frozen.tables
        exchanges = [exchange for _, exchange in self._interactions()]
        folded = fold(
            self.embedding,
            [exchange.send.weight for exchange in exchanges],
            [exchange.receive for exchange in exchanges],
            [exchange.update for exchange in exchanges],
            self._first_output,
            self._make_tables(),
        )
        is_frozen = not any(parameter.requires_grad for parameter in parameters)
        self._frozen = FrozenTables(parameters, folded) if is_frozen else None
        return folded

    def _keep_tables(self) -> list[Tensor]:
        """Return the tables; those of frozen weights are made once."""
        parameters = collect_parameters(self)
        if self._tables is None or not self._tables.are_of(parameters):
            self._tables = FrozenTables(parameters, self._make_tables())
        return self._tables.tables

    def _make_tables(self) -> list[Tensor]:
        assert self.table is not None
        return [filters.tabulate(self.table).contiguous() for filters, _ in self._interactions()]

    def _interactions(self) -> list[tuple[FilterNetwork, Exchange]]:
        return cast("list[tuple[FilterNetwork, Exchange]]", list(zip(self.filters, self.exchanges, strict=True)))


def _find_gpu_sweeps() -> ModuleType:
    from beadsmith.kernels.triton import filters

    return filters
