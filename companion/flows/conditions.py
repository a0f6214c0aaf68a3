r"""g(0) = 1, g > 0, g' < 0, g -> 0, and g + 2 s g' > 0 for s < K, < 0 for s > K: what (3.3) asks of g.   (3.3)

Any function g of s = |grad u|^2, from tensors to tensors, is looked at here: `check_diffusivity` says which condition
fails and where, or finds K. `flux` and `normal_diffusivity` are what one draws:

    Phi(r) = r g(r^2)              what flows across an edge of slope r
    g~(s)  = g(s) + 2 s g'(s)      Phi'(sqrt s): how fast it is diffused across the edges; backwards where negative

At s = K itself g~ = 0, which the printed (3.3), with x <= K, leaves out.

Paper: (3.3).  Notebooks: 06, 08.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def derivative(g: Function, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """g'(s) of a function that acts entry by entry, by automatic differentiation."""
    with torch.enable_grad():
        s = s.detach().requires_grad_()
        values = g(s)
    if not values.requires_grad:
        return torch.zeros_like(s)
    return torch.autograd.grad(values.sum(), s, materialize_grads=True)[0]


def normal_diffusivity(g: Function, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """g~(s) = g(s) + 2 s g'(s): how much is diffused across the edges, where |grad u|^2 = s.   (3.3)"""
    slope = g.derivative(s) if hasattr(g, "derivative") else derivative(g, s)
    return g(s).detach() + 2 * s * torch.where(s == 0, 0.0, slope)


def flux(g: Function, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Phi(r) = r g(r^2): what flows across an edge of slope r. It rises up to r = sqrt(K) and falls beyond.   (3.3)"""
    return r * g(r.square())


def check_diffusivity(g: Function) -> float:
    r"""K of a function g from tensors to tensors that satisfies (3.3); infinity if g + 2 s g' > 0 throughout.   (3.3)

    On s = 0 and 12001 points from 1e-30 to 1e30, in float64: g(0) = 1; g > 0, but for underflow; g decreasing; g still
    falling towards 0 at the end; and g + 2 s g', by automatic differentiation, changes its sign at most once, from
    + to -. K is found by bisection, to rounding. A property that fails between the points is not seen.

    Raises ValueError, saying which condition fails and where.

    >>> round(check_diffusivity(lambda s: 1 / (1 + s) ** 2), 9)
    0.333333333
    """
    s = torch.cat([torch.zeros(1, dtype=torch.float64), torch.logspace(-30, 30, 12001, dtype=torch.float64)])
    values = g(s).detach()
    if values.shape != s.shape:
        raise ValueError(
            f"A diffusivity acts entry by entry: {tuple(s.shape)} values of s give as many of g(s); got shape "
            f"{tuple(values.shape)}. Write it with torch's functions."
        )
    _check_values(s, values)
    tilde = normal_diffusivity(g, s)
    seen = (tilde.abs() > 1e-9 * values) & (values > 1e-290)  # what is smaller is rounding, or underflow
    points, signs = s[seen], tilde[seen].sign()
    changes = (signs[1:] != signs[:-1]).nonzero().flatten().tolist()
    if len(changes) > 1 or (len(signs) and signs[0] < 0):
        where = ", ".join(f"{float(points[i]):.3g}" for i in changes[:4]) or "0"
        raise ValueError(
            "(3.3) asks that g + 2 s g' is > 0 below one threshold K and < 0 above it; got changes of sign near "
            f"s = {where}. The flux r g(r^2) must rise once and fall once."
        )
    if not changes:
        return math.inf
    low, high = float(points[changes[0]]), float(points[changes[0] + 1])
    for _ in range(60):
        middle = (low + high) / 2
        if float(normal_diffusivity(g, torch.tensor([middle], dtype=torch.float64))) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _check_values(s: Tensor, values: Tensor) -> None:
    """g(0) = 1, g > 0, g decreasing, g -> 0."""
    if not abs(float(values[0]) - 1) <= 1e-9:
        raise ValueError(
            f"(3.3) asks for g(0) = 1: flat regions diffuse as heat does; got g(0) = {float(values[0]):.6g}. Divide g "
            "by g(0) and rescale the time."
        )
    bad = ~(values > 0)
    first = int(bad.nonzero()[0]) if bool(bad.any()) else len(values)
    underflow = bool((values[first:] == 0).all()) and float(values[first - 1]) <= 1e-15
    if first < len(values) and not underflow:
        raise ValueError(
            f"(3.3) asks for g > 0 everywhere; got g({float(s[first]):.4g}) = {float(values[first]):.4g}. Where g is 0 "
            "nothing diffuses any more, where it is negative everything runs backwards."
        )
    rises = (values[1:] > values[:-1] * (1 + 1e-12)).nonzero().flatten()
    if len(rises):
        i, j = int(rises[0]), int(rises[0] + values[int(rises[0]) :].argmax())  # from the first rise to the top
        raise ValueError(
            f"(3.3) asks for a decreasing g; got g({float(s[i]):.4g}) = {float(values[i]):.4g} < "
            f"g({float(s[j]):.4g}) = {float(values[j]):.4g}. The steeper the picture, the less it diffuses."
        )
    ten_decades_ago = values[int(torch.searchsorted(s, torch.tensor(1e20, dtype=torch.float64)))]
    if not (float(values[-1]) <= 0.9 * float(ten_decades_ago) or float(values[-1]) <= 1e-15):
        raise ValueError(
            f"(3.3) asks that g(s) -> 0 as s -> infinity; got g(1e+30) = {float(values[-1]):.4g}, and no longer "
            "falling. Where g stays positive the sharpest edge is diffused away."
        )
