r"""F = Gamma-lim F_n: F(x) <= liminf F_n(x_n) for every x_n -> x, with equality for one such sequence.   Def 4.1

Both halves are one number. With m_n(x, r) = inf {F_n(y) : |y - x| <= r},

    Gamma-lim inf F_n (x) = sup_{r > 0} liminf_{n -> infinity} m_n(x, r),      Gamma-lim sup likewise with limsup,

and F_n Gamma-converges at x if the two agree. First n grows, then r falls. A radius r_n that falls slowly enough
does both at once, and the points where m_n(x, r_n) is attained are a recovery sequence.

Here x is a number, and the infimum is looked for on a grid: what is narrower than its spacing is missed.

Paper: Def 4.1.  Notebook: 07.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Family = Callable[[Tensor, int], Tensor]  # (x, n) -> F_n(x), entry by entry


class Infimum(NamedTuple):
    """m_n(x, r) and a point y within r of x where F_n has this value."""

    value: Tensor
    at: Tensor


def infimum(F: Family, x: Float[Tensor, "*shape"], n: int, radius: float, points: int = 2001) -> Infimum:
    r"""m_n(x, r) = min {F_n(y) : |y - x| <= r} and where it is attained, for every entry of x.   Def 4.1

    radius  r >= 0; with r = 0 it is F_n(x)
    points  >= 3 on [x - r, x + r]; the least of them is then refined twice between its neighbours. A dip narrower
            than their distance 2r/(points - 1) is found only if a point happens to lie in it

    >>> infimum(lambda x, n: x**2, torch.tensor([1.0]), 1, 0.25).value
    tensor([0.5625])
    """
    if not radius >= 0 or points < 3:
        raise ValueError(f"An infimum takes a radius >= 0 and points >= 3; got radius={radius}, points={points}.")
    t = torch.linspace(-1, 1, points, dtype=x.dtype, device=x.device)
    lo, hi = x - radius, x + radius
    centre, half = x, torch.full_like(x, radius)
    best = Infimum(F(x, n), x)
    for _ in range(3):
        y = torch.minimum(torch.maximum(centre[..., None] + half[..., None] * t, lo[..., None]), hi[..., None])
        values = F(y, n)
        i = values.argmin(-1, keepdim=True)
        value, at = values.gather(-1, i).squeeze(-1), y.gather(-1, i).squeeze(-1)
        less = value < best.value
        best = Infimum(torch.where(less, value, best.value), torch.where(less, at, best.at))
        centre, half = best.at, half * 2 / (points - 1)
    return best


def lower_limit(
    F: Family,
    x: Float[Tensor, "*shape"],
    ns: Sequence[int],
    radius: float | Callable[[int], float],
    points: int = 2001,
) -> Float[Tensor, "n *shape"]:
    r"""(m_n(x, r_n)) for n in ns: the sequence whose lower limit, for r -> 0, is Gamma-lim inf F_n (x).   Def 4.1

    radius  one r for all n, or a function n -> r_n that falls to 0, slowly against the scale on which F_n moves

    >>> wave = lambda x, n: torch.sin(n * x)                               # tends to -1, and pointwise to nothing
    >>> lower_limit(wave, torch.zeros(1), (1, 10, 100), lambda n: n**-0.5).flatten()
    tensor([-0.8415, -1.0000, -1.0000])
    """
    return torch.stack([infimum(F, x, n, _radius(radius, n), points).value for n in ns])


def recovery(
    F: Family,
    x: Float[Tensor, "*shape"],
    ns: Sequence[int],
    radius: float | Callable[[int], float],
    points: int = 2001,
) -> Float[Tensor, "n *shape"]:
    r"""(y_n) for n in ns, |y_n - x| <= r_n, with F_n(y_n) = m_n(x, r_n): a recovery sequence at x if r_n -> 0 slowly.

    Arguments as for `lower_limit`.
    """
    return torch.stack([infimum(F, x, n, _radius(radius, n), points).at for n in ns])


def _radius(radius: float | Callable[[int], float], n: int) -> float:
    return float(radius(n)) if callable(radius) else float(radius)
