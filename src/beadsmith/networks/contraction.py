"""The symmetric contraction of MACE: all independent ways to couple ν copies of a site's features to one of degree L.

A coupling of ν copies is a polynomial of degree ν in the components A_m of a channel, and only the part that does not
change when copies trade places counts. So each way becomes coefficients on monomials, and ways that are linear
combinations of earlier ones are left out: the functions are those of the original basis, without its redundant weights.

Sources: Batatia et al., NeurIPS 35, 11423 (2022), arXiv 2206.07697, equations 10 and 11 and appendix A;
Dusson et al., J. Comput. Phys. 454, 110946 (2022), doi 10.1016/j.jcp.2022.110946 (independent couplings).
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beadsmith.kernels.contraction import SiteProgram, build_program, contract
from beadsmith.networks.coupling import coupling
from beadsmith.networks.spherical_harmonics import component_slice, n_components

# symmetric parts of couplings are sums of square roots of fractions: what is zero is zero to rounding
_ZERO = 1e-9


@dataclass(frozen=True, kw_only=True)
class ProductBasis:
    """The independent couplings of `order` copies of the features to degree L."""

    monomials: Int[np.ndarray, "monomials order"]
    """Components whose product is each monomial, in ascending order."""
    coefficients: Float[np.ndarray, "couplings components monomials"]
    """Coefficient of each monomial in each of the 2L + 1 components of each coupling."""
    n_orderings: int
    """Number of couplings of the original basis, which counts every order of the copies and all dependent ones."""


@cache
def product_basis(l_max: int, degree: int, order: int, *, natural_parity: bool) -> ProductBasis:
    """Return the independent couplings of `order` copies of features of degrees 0 … l_max to `degree`.

    Degrees ascend in each coupling, and copies are coupled from left to right. Each coupling is scaled so that the
    tensor of its coefficients has the squared sum 2L + 1, as one Clebsch-Gordan tensor has.

    Parameters
    ----------
    l_max : Highest degree of the features.
    degree : L.
    order : ν, the number of copies.
    natural_parity : Whether an inversion multiplies features of degree l by (−1)^l, and the result by (−1)^L.
    """
    kept: list[np.ndarray] = []
    n_orderings = 0
    for degrees in itertools.product(range(l_max + 1), repeat=order):
        if natural_parity and (sum(degrees) + degree) % 2:
            continue
        tensors = list(_couple(degrees, degree))
        n_orderings += len(tensors)
        if list(degrees) == sorted(degrees):
            kept += _independent([_symmetrise(_embed(tensor, degrees, l_max)) for tensor in tensors])
    shape = (2 * degree + 1, *[n_components(l_max)] * order)
    stacked = np.stack(kept) if kept else np.zeros((0, *shape))
    monomials = np.array(list(itertools.combinations_with_replacement(range(n_components(l_max)), order)))
    # a monomial stands for as many equal entries of the symmetric tensor as its factors have different orders
    multiplicity = np.array([math.factorial(order) / math.prod(map(math.factorial, np.bincount(m))) for m in monomials])
    coefficients = stacked[:, :, *monomials.T] * multiplicity
    used = np.abs(coefficients).max(axis=(0, 1), initial=0.0) > _ZERO
    return ProductBasis(monomials=monomials[used], coefficients=coefficients[:, :, used], n_orderings=n_orderings)


def _couple(degrees: tuple[int, ...], degree: int) -> Iterator[np.ndarray]:
    """Yield the tensors (component, m1, …, mν) of all couplings from left to right."""
    if len(degrees) == 1:
        if degrees[0] == degree:
            yield np.eye(2 * degree + 1)
        return
    *left, last = degrees
    lowest = 0 if len(left) > 1 else left[0]
    for between in range(abs(degree - last), degree + last + 1):
        if between >= lowest:
            for tensor in _couple(tuple(left), between):
                yield np.einsum("p...,pqr->r...q", tensor, coupling(between, last, degree))


def _embed(tensor: np.ndarray, degrees: tuple[int, ...], l_max: int) -> np.ndarray:
    """Return a coupling of given degrees as a tensor over the components of all degrees."""
    whole = np.zeros((len(tensor), *[n_components(l_max)] * len(degrees)))
    whole[:, *[component_slice(k) for k in degrees]] = tensor
    return whole


def _symmetrise(tensor: np.ndarray) -> np.ndarray:
    """Return the mean over all orders of the copies."""
    orders = list(itertools.permutations(range(1, tensor.ndim)))
    return sum((tensor.transpose(0, *order) for order in orders), np.zeros_like(tensor)) / len(orders)


def _independent(tensors: list[np.ndarray]) -> list[np.ndarray]:
    """Return the tensors that are not combinations of earlier ones, each with the squared sum 2L + 1."""
    kept: list[np.ndarray] = []
    directions: list[np.ndarray] = []
    for tensor in tensors:
        rest = tensor.copy()
        for direction in directions:
            rest -= np.vdot(direction, rest) * direction
        norm = math.sqrt(np.vdot(rest, rest))
        if norm > 1e-6:
            directions.append(rest / norm)
            kept.append(tensor * math.sqrt(len(tensor) / np.vdot(tensor, tensor)))
    return kept


class SymmetricContraction(nn.Module):
    """Sum all independent couplings of up to ν copies of a site's features, with a weight for each type and channel.

    B[L M, k] = Σ_η w^L[type, η, k] Σ_mono C^L[η, M, mono] Π A[·, k]. Everything here acts on one site and one channel.
    """

    def __init__(
        self, l_max: int, l_max_out: int, correlation: int, *, n_types: int, n_features: int, natural_parity: bool
    ) -> None:
        """Make a contraction of features of degrees 0 … l_max to degrees 0 … l_max_out with up to ν copies."""
        super().__init__()
        self.l_max, self.l_max_out, self.correlation = l_max, l_max_out, correlation
        self.natural_parity = natural_parity
        self.weights = nn.ParameterList(
            torch.zeros(n_types, sum(len(basis.coefficients) for basis in bases), n_features)
            for bases in (self.bases(degree) for degree in range(l_max_out + 1))
        )
        """w, one tensor (types, couplings, channels) for each degree; couplings of one copy come first."""

    def bases(self, degree: int) -> list[ProductBasis]:
        """Return the couplings to one degree, of one copy, of two, and so on."""
        orders = range(1, self.correlation + 1)
        return [product_basis(self.l_max, degree, order, natural_parity=self.natural_parity) for order in orders]

    def initialise_(self, generator: torch.Generator) -> None:
        """Draw weights that give the polynomials the spread they have with the original, redundant basis."""
        for degree, weight in enumerate(self.weights):
            start = 0
            for basis in self.bases(degree):
                part = weight.data[:, start : start + len(basis.coefficients)]
                nn.init.normal_(part, std=1.0 / max(basis.n_orderings, 1), generator=generator)
                start += len(basis.coefficients)

    def forward(
        self, features: Float[Tensor, "components sites channels"], types: Int[Tensor, "sites"]
    ) -> Float[Tensor, "results sites channels"]:
        """Return B, degree after degree; components come first, so that each is one block of memory."""
        polynomials = contraction_polynomials(self.l_max, self.l_max_out, self.correlation, self.natural_parity)
        factors, matrix = polynomials.on(features.dtype, features.device)
        products = [features]
        for order in factors:
            product = features.index_select(0, order[0])
            for factor in order[1:]:
                product = product * features.index_select(0, factor)
            products.append(product)
        coupled = (matrix @ torch.cat(products).flatten(1)).unflatten(1, features.shape[1:])
        sizes = [weight.shape[1] * (2 * degree + 1) for degree, weight in enumerate(self.weights)]
        results = []
        for degree, (weight, rows) in enumerate(zip(self.weights, coupled.split(sizes), strict=True)):
            # one type needs no copy of its weights for every site
            of_sites = weight.transpose(0, 1) if len(weight) == 1 else weight.transpose(0, 1).index_select(1, types)
            results.append((rows.unflatten(0, (-1, 2 * degree + 1)) * of_sites[:, None]).sum(0))
        return torch.cat(results)

    def fused(
        self, features: Float[Tensor, "components sites channels"], types: Int[Tensor, "sites"]
    ) -> Float[Tensor, "results sites channels"]:
        """Return what `forward` returns, from compiled code on a CPU."""
        return contract(self.program, features, torch.cat(list(self.weights), dim=1), types)

    @property
    def program(self) -> SiteProgram:
        """The polynomials as compiled code wants them."""
        return _program(self.l_max, self.l_max_out, self.correlation, self.natural_parity)


@dataclass(frozen=True, eq=False)
class ContractionPolynomials:
    """All monomials of a contraction and the matrix that makes couplings of them."""

    factors: tuple[Int[np.ndarray, "order monomials"], ...]
    """Factors of the monomials of two, three, … copies; those of one copy are the components themselves."""
    matrix: Float[np.ndarray, "rows monomials"]
    """One row for each degree, coupling and component, in this order; float64."""

    def on(self, dtype: torch.dtype, device: torch.device) -> tuple[list[list[Tensor]], Tensor]:
        """Return factors and matrix as tensors, which are kept for the next call."""
        return _as_tensors(self, dtype, device)


@cache
def contraction_polynomials(
    l_max: int, l_max_out: int, correlation: int, natural_parity: bool
) -> ContractionPolynomials:
    """Return what `SymmetricContraction` multiplies, for each degree 0 … l_max_out and one to `correlation` copies."""
    bases = [
        [product_basis(l_max, degree, order, natural_parity=natural_parity) for order in range(1, correlation + 1)]
        for degree in range(l_max_out + 1)
    ]
    monomials: list[tuple[int, ...]] = [(component,) for component in range(n_components(l_max))]
    for order in range(1, correlation):
        monomials += sorted({tuple(map(int, m)) for of_degree in bases for m in of_degree[order].monomials})
    place = {monomial: k for k, monomial in enumerate(monomials)}
    blocks = []
    for of_degree in bases:
        for basis in of_degree:
            block = np.zeros((*basis.coefficients.shape[:2], len(monomials)))
            block[:, :, [place[tuple(map(int, m))] for m in basis.monomials]] = basis.coefficients
            blocks.append(block.reshape(-1, len(monomials)))
    factors = tuple(np.array([m for m in monomials if len(m) == n]).T for n in range(2, correlation + 1))
    return ContractionPolynomials(factors, np.concatenate(blocks))


@cache
def _program(l_max: int, l_max_out: int, correlation: int, natural_parity: bool) -> SiteProgram:
    found = contraction_polynomials(l_max, l_max_out, correlation, natural_parity)
    orders = range(1, correlation + 1)
    numbers = [
        sum(len(product_basis(l_max, degree, order, natural_parity=natural_parity).coefficients) for order in orders)
        for degree in range(l_max_out + 1)
    ]
    return build_program(found.factors, found.matrix, numbers)


@cache
def _as_tensors(
    polynomials: ContractionPolynomials, dtype: torch.dtype, device: torch.device
) -> tuple[list[list[Tensor]], Tensor]:
    with torch.inference_mode(False):
        factors = [[torch.tensor(row, device=device) for row in order] for order in polynomials.factors]
        return factors, torch.tensor(polynomials.matrix, dtype=dtype, device=device)
