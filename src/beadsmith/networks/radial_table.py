"""Functions of distance as rows of a table with cubic B-splines between the knots.

Filters and radial networks depend on distance alone, and there are far fewer knots than pairs. In training the rows are
ordinary differentiable functions of the parameters; the spline is linear in them, so that forces, which need its slope,
are exact derivatives of the tabulated energy and need no second differentiation of the radial network.

With r = (k + u) h, 0 ≤ u < 1:  f(r) = Σ_q w_q(u) c_{k−1+q}, q = 0..3, with the B-spline weights w and the coefficients
c_k = (−f_{k−1} + 8 f_k − f_{k+1}) / 6, a quasi-interpolant with errors O(h⁴) in value and O(h³) in slope that is twice
continuously differentiable.

Source: C. de Boor, A Practical Guide to Splines, Springer (2001), chapter XII.
"""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from beadsmith.errors import InputError

FIRST_INTERVAL = 4
"""The table starts at this many spacings: functions may be singular at zero. Closer pairs see its first value."""


class RadialTable:
    """Where the knots lie, and how to interpolate between rows of coefficients."""

    def __init__(self, n_intervals: int, cutoff: float) -> None:
        """Make the grid.

        Parameters
        ----------
        n_intervals : Number of intervals between zero and the cutoff.
        cutoff : Distance beyond which all functions are zero [nm].

        Raises
        ------
        InputError : too few intervals.
        """
        if n_intervals < 16:
            raise InputError(f"a radial table has {n_intervals} intervals, expected at least 16")
        self.n_intervals, self.cutoff = n_intervals, cutoff
        self.spacing = cutoff / n_intervals
        self.n_rows = n_intervals + 2
        """Number of rows of coefficients: the last interval ends at knot n_intervals and needs one more."""

    def knots(self, like: Tensor) -> Float[Tensor, "places"]:
        """Return the distances [nm] at which functions are evaluated, in the precision and on the device of `like`."""
        numbers = torch.arange(FIRST_INTERVAL - 2, self.n_intervals, dtype=torch.float64, device=like.device)
        return (numbers * self.spacing).to(like)

    def tabulate(self, function: Callable[[Tensor], Tensor], like: Tensor) -> Float[Tensor, "*tables rows columns"]:
        """Return the coefficients of a function of distance that vanishes at the cutoff, differentiably.

        Row k belongs to the knot k h; the rows below `FIRST_INTERVAL` − 1 are never used and zero. The last rows are
        zero, so that value, slope and curvature vanish at the cutoff.

        Parameters
        ----------
        function : Maps the distances `knots` [nm] to values (*tables, knots, columns).
        like : Tensor whose precision and device the table takes.
        """
        values = function(self.knots(like))
        inner = (8.0 * values[..., 1:-1, :] - values[..., :-2, :] - values[..., 2:, :]) * (1.0 / 6.0)
        # rows below the first interval are never used; the last ones are zero
        return functional.pad(inner, (0, 0, FIRST_INTERVAL - 1, 3))

    def locate(self, distances: Float[Tensor, "pairs"]) -> tuple[Tensor, Tensor]:
        """Return interval k (int64) and fraction u of each distance; beyond the cutoff the last, empty interval."""
        scaled = distances * (1.0 / self.spacing)
        interval = scaled.detach().nan_to_num(0.0).clamp(FIRST_INTERVAL, self.n_intervals).long()
        fraction = scaled - interval
        return interval, torch.where(scaled < FIRST_INTERVAL, torch.zeros_like(fraction), fraction)

    def interpolate(
        self,
        coefficients: Float[Tensor, "knots columns"],
        distances: Float[Tensor, "pairs"],
        starts: Int[Tensor, "pairs"] | None = None,
    ) -> Float[Tensor, "pairs columns"]:
        """Return the tabulated functions in plain torch, differentiable any number of times: the slow twin.

        Parameters
        ----------
        coefficients : One table, or several one below the other.
        distances : Where to evaluate [nm].
        starts : First row of each pair's table, if there are several.
        """
        interval, u = self.locate(distances)
        v = 1.0 - u
        weights = (v**3, 3.0 * u**3 - 6.0 * u**2 + 4.0, 3.0 * v**3 - 6.0 * v**2 + 4.0, u**3)
        places = [(interval - 1 + q).clamp(max=self.n_rows - 1) for q in range(4)]
        rows = [coefficients.index_select(0, place if starts is None else place + starts) for place in places]
        total = torch.stack([weight[:, None] * row for weight, row in zip(weights, rows, strict=True)]).sum(0) / 6.0
        # a distance that is not a number fails the comparison and reaches the energy
        return torch.where((distances >= self.cutoff)[:, None], torch.zeros_like(total), total)

    def measure_error(self, function: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """Return the largest error of the spline and of its slope, relative to the largest value and slope.

        Checked in float64 at the knots, where the slope is best, and at three places between them, from the tenth of
        the cutoff or the start of the table on; `function` must work in float64.
        """
        knots = torch.arange(max(self.n_intervals // 10, FIRST_INTERVAL), self.n_intervals, dtype=torch.float64)
        places = (knots[:, None] + torch.tensor([0.0, 0.21, 0.5, 0.79], dtype=torch.float64)).flatten() * self.spacing
        coefficients = self.tabulate(function, places).detach()

        def with_slopes(values: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
            with warnings.catch_warnings():
                # torch imports a deprecated part of itself here
                warnings.simplefilter("ignore", DeprecationWarning)
                found = torch.func.jvp(values, (places,), (torch.ones_like(places),))
            return found[0].detach(), found[1].detach()

        found = with_slopes(lambda distances: self.interpolate(coefficients, distances))
        exact = with_slopes(function)
        errors = [float((f - e).abs().max() / e.abs().max()) for f, e in zip(found, exact, strict=True)]
        return errors[0], errors[1]
