r"""Lesson 07, Gamma-convergence. The checks: a weight lambda_n, what T_n does not see, a recovery sequence, the
cost of an edge, a square's minimiser.

Notebook: 07.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from companion import VARIATIONS, Disc, FrameletTransform, Square, bspline, lambda_n, sample
from companion.lab.check import exercise
from companion.lab.diagnose import described

TWO = 2**0.5


def _value(out: Any) -> float | None:
    """A finite real number, or None."""
    try:
        value = float(out)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _length(out: Any) -> int | None:
    """len(out), or None for what has no length."""
    try:
        return len(out)
    except TypeError:
        return None


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)


@exercise(
    title="07.1 a weight",
    expects=Callable,
    hints=[
        "The band approximates C h^3 times a third derivative: one along x_1, two along x_2.",
        "C is the product of the two constants, -sqrt 2/2 and -1/4. At level l the taps lie 2^l cells apart.",
        "So h becomes 2^l h: lambda = 1 / (C (2^l h)^3).",
    ],
    praise="two negative constants: this band needs no sign",
)
def weight(answer: Callable[[float, int], float]) -> str | None:
    """lambda of band (1, 2) of linear splines: 4 sqrt 2 / (2^l h)^3."""
    W = FrameletTransform(bspline(2), levels=3)
    for h, level in ((0.25, 0), (0.1, 2), (1.0, 1)):
        out, k = _value(answer(h, level)), 2.0**level
        if out is None:
            return f"one number is asked for; got {described(answer(h, level))}"
        band = next(i for i, b in enumerate(W.bands) if b.ell == (1, 2) and b.level == level)
        right = float(lambda_n(W, h).flatten()[band])
        if _near(out, right):
            continue
        C = TWO / 8
        slips = {
            "the sign: both constants are negative, their product is positive": -right,
            "the level is missing: at level l the taps lie 2^l cells apart": 1 / (C * h**3),
            "the level enters with the order: h becomes 2^l h, so 2^l appears to the third power": 1 / (C * k * h**3),
            "2^l divides: the step at level l is 2^l h, longer, not shorter": k**3 / (C * h**3),
            "level 0 is the finest, with no factor: at level l the step is 2^l h, not 2^(l-1) h": 8 * right,
            "this multiplies by C: lambda takes the constant away": C / (k * h) ** 3,
            "upside down: this is C (2^l h)^3, what the band is, not what it is divided by": C * (k * h) ** 3,
            "the constants are missing: lambda is 1/(C h^3), not 1/h^3": 1 / (k * h) ** 3,
            "the order of the band is 1 + 2 = 3, and this has h^2": 1 / (C * (k * h) ** 2),
            "the order of the band is 1 + 2 = 3, and this has h^1": 1 / (C * k * h),
            "this is the band (1, 1): q_2 has the constant -1/4 and the order 2": 2 / (k * h) ** 2,
            "this is the band (2, 2)": 16 / (k * h) ** 4,
            "only q_1 is there: along x_2 the filter is q_2, not the low-pass": -TWO / (k * h),
            "only q_2 is there: along x_1 the filter is q_1, not the low-pass": -4 / (k * h) ** 2,
        }
        found = next((slip for slip, wrong in slips.items() if _near(out, wrong)), None)
        return found or f"for h = {h}, l = {level} the weight is {right:.4g}, and this is {out:.4g}"
    return None


@exercise(
    title="07.2 what T_n does not see",
    expects=Callable,
    hints=[
        "T_n takes weighted means. Which function has the mean 0 over every interval of length h = 1/N?",
        "A wave with a full period in each cell. The hat is a mean of shifted boxes, and sees as little of it.",
        "torch.sin(2 * math.pi * N * x1) + 0 * x2.",
    ],
    praise="so no E_n has a unique minimiser in W^1_1, and minimisers need not converge",
)
def unseen(answer: Callable[[Tensor, Tensor, int], Tensor]) -> str | None:
    """A function of period 1 in the kernel of T_n, for box and hat, of L2 norm >= 1/2."""
    for N in (8, 12):
        x = torch.arange(64 * N, dtype=torch.float64) / (64 * N)
        out = answer(x[:, None], x[None, :], N)
        if not isinstance(out, Tensor) or not out.is_floating_point():
            return f"a function of (x1, x2, N) with tensors as values is asked for; got {described(out)}"
        u = torch.broadcast_to(out, (64 * N, 64 * N)) if out.ndim <= 2 else out
        if u.shape != (64 * N, 64 * N) or not bool(u.isfinite().all()):
            return f"one finite value at each point is asked for; got {described(out)}"
        t = (torch.arange(97, dtype=torch.float64) + 0.3183) / 97  # generic points: a jump at 0 does no harm
        ends = answer(t, t, N) - answer(t + 1, t, N)
        across = answer(t, t, N) - answer(t, t + 1, N)
        size = float(u.square().mean().sqrt())
        if size < 1e-6:
            return "this is 0 (at least on a fine grid): every T_n maps it to 0, and nothing is lost"
        for order, name in ((1, "box"), (2, "hat")):
            v = sample(lambda a, b: answer(a, b, N), N, order, points=16)  # noqa: B023
            if float(v.abs().max()) > 1e-5 * max(size, 1.0):
                mean = float(v.mean())
                flat = float((v - mean).abs().max()) < 1e-5
                why = f": its mean is {mean:.3g}, not 0" if flat else ""
                if not flat and float((v + v.roll(1, 0)).abs().max() * (v + v.roll(1, 1)).abs().max()) < 1e-8:
                    why = ": half a period in each cell gives means of alternating sign. Take a full one"
                return f"the {name}'s means of it are not 0, for N = {N} up to {float(v.abs().max()):.3g}{why}"
        if max(float(torch.as_tensor(e).abs().max()) for e in (ends, across)) > 1e-6:
            return "it must have the period 1 in both variables: values at x and at x + 1 differ"
        if size < 0.5:
            return f"right, but its L2 norm is {size:.3g}: make it at least 1/2, so that nobody calls it small"
    return None


@exercise(
    title="07.3 a recovery sequence",
    expects=Callable,
    hints=[
        "Two demands: the ramp must tend to the jump, and the staircase must be smoothed more and more.",
        "Width -> 0, and width / h -> infinity, which is the number of cells across the ramp.",
        "Any power between: h**0.5.",
    ],
    praise="every power h^s, 0 < s < 1, will do in the limit; the excess is then of order h^(1-s)",
)
def recovery(answer: Callable[[float], float]) -> str | None:
    """w(h) -> 0 with w/h -> infinity."""
    steps = [2.0**-k for k in (5, 6, 7, 8, 20, 200)]  # far apart, so that h |log h| is seen to grow against h
    widths = [_value(answer(h)) for h in steps]
    if any(w is None for w in widths):
        return f"a width, one number, is asked for; got {described(answer(steps[0]))}"
    found = [w for w in widths if w is not None]
    if min(found) <= 0:
        return f"a width is > 0; for h = 1/32 this is {found[0]:.3g}"
    disc, N = Disc(0.25), 256
    J = VARIATIONS["forward differences"](1.0, 1 / N, "periodic")
    near, far = found[-2] / steps[-2], found[-1] / steps[-1]
    if not far > 1.5 * near:
        v = sample(disc.ramp(found[3]), N, points=1)
        ratio = float(J(v)) / disc.perimeter
        return (
            f"the ramp keeps about {far:.3g} cells, however small h is: the staircase stays, and forward differences "
            f"charge the disc {ratio:.3f} times its perimeter at N = 256. The number of cells must grow"
        )
    if not found[-1] < 0.8 * found[-2] or found[-1] > 0.3:
        return f"the width tends to {found[-1]:.3g}, not to 0: these ramps do not converge to the disc"
    v = sample(disc.ramp(found[3]), N, points=1)
    ratio, off = float(J(v)) / disc.perimeter, float((v - disc.averages(N)).abs().mean())
    if abs(ratio - 1) > 0.05 or off > 0.12:
        return (
            f"right in the limit, but slow: at N = 256 the energy is {ratio:.3f} times the perimeter, the distance to "
            f"the disc {off:.3f}. Take a power in the middle"
        )
    return None


@exercise(
    title="07.4 the third band and an edge",
    expects=Callable,
    hints=[
        "Per unit length there are cos pairs of neighbouring columns, sin of them with a step; see the folded answer.",
        "A 2 x 2 block cut as 2 + 2 has the third coefficient 0. One cut as 3 + 1 has all three of modulus 1/4.",
        "With the weight 2 a block 3 + 1 costs sqrt(3)/2, and a step makes two of them.",
    ],
    praise="at 45 degrees 1.22: the third band spoils the octagon",
)
def third(answer: Callable[[float], float]) -> str | None:
    """cos + (sqrt 3 - 1) sin on [0, pi/4]."""
    for theta in (0.0, math.pi / 8, math.pi / 4):
        out, c, s = _value(answer(theta)), math.cos(theta), math.sin(theta)
        if out is None:
            return f"one number is asked for; got {described(answer(theta))}"
        if _near(out, c + (3**0.5 - 1) * s):
            continue
        if theta == 0.0:
            return f"at theta = 0 the edge is straight and costs 1; this gives {out:.4g}"
        slips = {
            "this is the cost with two bands: a block 3 + 1 has a third coefficient, too": c + (TWO - 1) * s,
            "here the third band counts apart: grouped, the three coefficients have the length sqrt(3)/4": c + 2 * s,
            "this is the entrywise cost of two bands": c + s,
            "a step makes two blocks 3 + 1, and this counts one": c + (3**0.5 / 2 - 1) * s,
            "a step replaces a straight block: sin must be taken from cos": c + 3**0.5 * s,
            "the edge has cos - sin straight blocks and sin steps: cos and sin are exchanged": s + (3**0.5 - 1) * c,
            "this is per column, not per unit of length: multiply by cos theta": 1 + (3**0.5 - 1) * s / c,
            "the total variation's own cost, for every direction; the grid has stairs": 1.0,
        }
        found = next((slip for slip, wrong in slips.items() if _near(out, wrong)), None)
        return found or f"at {math.degrees(theta):.3g} degrees the cost is {c + (3**0.5 - 1) * s:.4f}; got {out:.4f}"
    return None


@exercise(
    title="07.5 a square",
    expects=Callable,
    hints=[
        "As for the disc: the divergence of v is constant on each side, and Gauss's theorem gives both constants.",
        "Perimeter 8 a, area 4 a^2: inside 1 - nu * perimeter / area, outside nu * perimeter / (1 - area).",
    ],
    praise="a perimeter over an area, as for the disc: such sets are called calibrable",
)
def square(answer: Callable[[float, float], tuple[float, float]]) -> str | None:
    """(1 - 2 nu/a, 8 a nu/(1 - 4 a^2)) for the side 2a."""
    for a, nu in ((0.25, 0.05), (0.2, 0.03)):
        out = answer(a, nu)
        if isinstance(out, (str, dict)) or not hasattr(out, "__getitem__") or _length(out) != 2:
            return f"the answer is the pair (inside, outside); got {described(out)}"
        pair = [_value(v) for v in out]
        if pair[0] is None or pair[1] is None:
            return f"two finite numbers are asked for; got {described(out)}"
        right = Square(a).minimiser(nu)
        for value, wanted, name, slips in (
            (
                pair[0],
                right.inside,
                "inside",
                {
                    "a is half the side: the perimeter is 8 a, the area 4 a^2": 1 - 4 * nu / a,
                    "the perimeter is 8 a, and this has 4 a": 1 - nu / a,
                    "the contrast falls: 1 MINUS nu * perimeter / area": 1 + 2 * nu / a,
                    "this is what is taken away, not what is left": 2 * nu / a,
                    "nu enters linearly": 1 - 2 * nu**2 / a,
                    "area over perimeter: upside down": 1 - nu * a / 2,
                },
            ),
            (
                pair[1],
                right.outside,
                "outside",
                {
                    "outside the picture rises: the mean of f is kept": -right.outside,
                    "outside has the area 1 - 4 a^2, not 1": 8 * a * nu,
                    "this divides by the square's area; outside has 1 - 4 a^2": 2 * nu / a,
                    "a is half the side: 1 - 4 a^2, and this has 1 - a^2": 8 * a * nu / (1 - a * a),
                    "the perimeter is 8 a, and this has 4 a": 4 * a * nu / (1 - 4 * a * a),
                    "the mean of f is kept, so outside is not 0": 0.0,
                    "this is the disc's": 2 * math.pi * a * nu / (1 - math.pi * a * a),
                },
            ),
        ):
            if _near(value, wanted):
                continue
            found = next((slip for slip, wrong in slips.items() if _near(value, wrong)), None)
            return f"{name}: " + (found or f"for a = {a}, nu = {nu} it is {wanted:.4f}; got {value:.4f}")
    return None
