"""Cubic B-splines for numba: where a distance lies in a radial table and how much each of its four knots counts.

The readable twin is `beadsmith.networks.radial_table.RadialTable`, which also explains the notation.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

from beadsmith.kernels.rows import compiled

FIRST_INTERVAL = 4
"""Intervals below this one are not tabulated: there the functions keep their value at its start."""


@compiled
def find_weights(distance, spacing, n_intervals):
    """Return the first row, four weights and their four slopes by distance; a distance that is no number stays none.

    Row p + q has weight q. Slopes are zero below the first tabulated interval. Distances must be below the cutoff.
    """
    real = type(spacing)
    inverse = real(1.0) / spacing
    scaled = distance * inverse
    # min and max would turn a distance that is not a number into one
    k = FIRST_INTERVAL
    if scaled > FIRST_INTERVAL:
        k = min(int(scaled), n_intervals - 1)
    u = scaled - real(k)
    slope = real(0.5) * inverse
    if u < real(0.0):
        u, slope = real(0.0), real(0.0)
    v = real(1.0) - u
    uu, vv, sixth = u * u, v * v, real(1.0 / 6.0)
    w0, w3 = vv * v * sixth, uu * u * sixth
    w1 = (real(3.0) * uu * u - real(6.0) * uu + real(4.0)) * sixth
    w2 = (real(3.0) * vv * v - real(6.0) * vv + real(4.0)) * sixth
    s0, s3 = -vv * slope, uu * slope
    s1 = (real(3.0) * uu - real(4.0) * u) * slope
    s2 = (real(4.0) * v - real(3.0) * vv) * slope
    return k - 1, w0, w1, w2, w3, s0, s1, s2, s3
