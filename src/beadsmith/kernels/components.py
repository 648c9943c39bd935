"""What the angular components of one pair do with the numbers of its two sites, in whole vector registers, for numba.

A pair meets 1, 4 or 9 components u_m at a time, too few for a matrix product: all of them stay in registers while the
features pass once.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, ignore-errors
# numba infers types itself; annotations would only be checked at calls that Python never makes

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from beadsmith.kernels.products import LANES, Vectors, add_up, data_of
from beadsmith.kernels.rows import compiled


def _places(builder, start, step, numbers):
    return [builder.add(start, builder.mul(step, ir.IntType(64)(k))) for k in numbers]


def _deliver(n_components):
    """Return an intrinsic that adds u_m y to row m of the sums of a site."""

    @intrinsic
    def deliver(_, sums, at, components, q, width, message, message_at, n_features):
        index = types.int64
        signature = types.void(sums, index, components, index, index, message, index, index)

        def generate(context, builder, signature, arguments):
            _, at, _, q, width, _, message_at, n_features = arguments
            vectors = Vectors(context, builder, signature.args[0].dtype)
            sums, components, message = (data_of(context, builder, signature, arguments, k) for k in (0, 2, 5))
            rows = _places(builder, at, n_features, range(n_components))
            numbers = _places(builder, q, width, range(n_components))
            factors = [vectors.fill(builder.load(builder.gep(components, [number]))) for number in numbers]
            with cgutils.for_range(builder, builder.udiv(n_features, vectors.index(LANES))) as loop:
                along = builder.mul(loop.index, vectors.index(LANES))
                value = vectors.load(message, builder.add(message_at, along))
                for row, factor in zip(rows, factors, strict=True):
                    target = builder.add(row, along)
                    vectors.store(vectors.add_product(vectors.load(sums, target), factor, value), sums, target)
            return context.get_dummy_value()

        return signature, generate

    return deliver


def _meet(n_components):
    """Return an intrinsic for what dE/dE of a site means to one of its pairs."""

    @intrinsic
    def meet(_, received, to, components, q, width, adjoint, at, message, message_at, change, change_at, more):
        index = types.int64
        arrays = more.types
        signature = types.void(
            received, index, components, index, index, adjoint, index, message, index, change, index, more
        )

        def generate(context, builder, signature, arguments):
            _, to, _, q, width, _, at, _, message_at, _, change_at, more = arguments
            vectors = Vectors(context, builder, signature.args[0].dtype)
            received, components, adjoint, message, change = (
                data_of(context, builder, signature, arguments, k) for k in (0, 2, 5, 7, 9)
            )
            along, across, n_features = (builder.extract_value(more, k) for k in range(3))
            along, across = (
                context.make_array(kind)(context, builder, array).data
                for kind, array in zip(arrays, (along, across), strict=False)
            )
            zero = ir.Constant(vectors.type, None)
            totals = [cgutils.alloca_once_value(builder, zero) for _ in range(n_components)]
            rows = _places(builder, at, n_features, range(n_components))
            numbers = _places(builder, q, width, range(n_components))
            factors = [vectors.fill(builder.load(builder.gep(components, [number]))) for number in numbers]
            with cgutils.for_range(builder, builder.udiv(n_features, vectors.index(LANES))) as loop:
                here = builder.mul(loop.index, vectors.index(LANES))
                value = vectors.load(message, builder.add(message_at, here))
                total = None
                for m, (row, factor) in enumerate(zip(rows, factors, strict=True)):
                    line = vectors.load(adjoint, builder.add(row, here))
                    total = vectors.multiply(factor, line) if m == 0 else vectors.add_product(total, factor, line)
                    if m > 0:
                        builder.store(vectors.add_product(builder.load(totals[m]), line, value), totals[m])
                vectors.store(total, received, builder.add(to, here))
                slope = vectors.load(change, builder.add(change_at, here))
                builder.store(vectors.add_product(builder.load(totals[0]), total, slope), totals[0])
            builder.store(add_up(builder, vectors, builder.load(totals[0])), builder.gep(along, [q]))
            for number, memory in list(zip(numbers, totals, strict=True))[1:]:
                builder.store(add_up(builder, vectors, builder.load(memory)), builder.gep(across, [number]))
            return context.get_dummy_value()

        return signature, generate

    return meet


_deliver_one, _deliver_four, _deliver_nine = (_deliver(n) for n in (1, 4, 9))
_meet_one, _meet_four, _meet_nine = (_meet(n) for n in (1, 4, 9))


@compiled
def deliver_(sums, components, message, shape):
    """Add the product of each component u_m of a pair with its message y to row m of the sums of a site.

    Parameters
    ----------
    sums : Array (.., components, features), number of its element where the site starts.
    components : Array (9, pairs), number of the pair.
    message : Array, first element.
    shape : Number of components, number of features (a multiple of `LANES`).
    """
    into, at = sums
    u, q = components
    y, message_at = message
    n_components, n_features = shape
    if n_components == 1:
        _deliver_one(into, at, u, q, u.shape[1], y, message_at, n_features)
    elif n_components == 4:
        _deliver_four(into, at, u, q, u.shape[1], y, message_at, n_features)
    else:
        _deliver_nine(into, at, u, q, u.shape[1], y, message_at, n_features)


@compiled
def meet_(received, components, adjoint, message, change, results, shape):
    """Fill what a pair feels of T_m, the derivatives of the energy by the sums of the site that receives its message.

    With the message y of the pair and its derivative y' by the distance: the derivative by the message Σ_m u_m T_m,
    by the distance y' · Σ_m u_m T_m, and by each component T_m · y, m ≥ 1.

    Parameters
    ----------
    received : Array for the derivative by the message, first element.
    components : Array (9, pairs), number of the pair.
    adjoint, message, change : T, y and y': array and first element of each.
    results : Arrays (pairs,) and (9, pairs) for the derivatives by the distance and by the components.
    shape : Number of components, number of features (a multiple of `LANES`).
    """
    into, to = received
    u, q = components
    t, at = adjoint
    y, message_at = message
    slope, change_at = change
    along, across = results
    n_components, n_features = shape
    more = (along, across, n_features)
    if n_components == 1:
        _meet_one(into, to, u, q, u.shape[1], t, at, y, message_at, slope, change_at, more)
    elif n_components == 4:
        _meet_four(into, to, u, q, u.shape[1], t, at, y, message_at, slope, change_at, more)
    else:
        _meet_nine(into, to, u, q, u.shape[1], t, at, y, message_at, slope, change_at, more)
