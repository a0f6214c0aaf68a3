r"""Lesson 05, total variation. The checks: a projection, a divergence, two pixels, a coarea integral, a vanishing disc.

Notebook: 05.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from companion import Divergence, Gradient
from companion.lab.check import exercise
from companion.lab.diagnose import described, same


def _slip(out: Any, slips: dict[str, Tensor], otherwise: str, tol: float = 1e-9) -> str:
    """The first slip that gives this answer, else what `same` has said."""
    return next((slip for slip, wrong in slips.items() if same(out, wrong, tol) is None), otherwise)


@exercise(
    title="05.1 the projection onto the dual ball",
    expects=Callable,
    hints=[
        "One pixel: if |p| <= r nothing happens; else p is shortened to the length r, its direction kept.",
        "p / max(1, |p|/r), with |p| the Euclidean length over the component axis, kept as an axis of length 1.",
        "size = p.square().sum(-3, keepdim=True).sqrt(); then size / r and clamp_min(1).",
    ],
    praise="this is the only nonlinear line of every dual method for TV",
)
def projection(answer: Callable[[Tensor, float], Tensor]) -> str | None:
    """p / max(1, |p| / r), |p| the length of (p_1, p_2) in each pixel."""
    p = torch.randn(2, 8, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p[:, 3, 4] = 0
    size = p.square().sum(0, keepdim=True).sqrt()
    for r in (0.7, 2.0):
        out = answer(p.clone(), r)
        right = p / (size / r).clamp_min(1)
        if isinstance(out, Tensor) and out.shape == p.shape and bool(out[:, 3, 4].isnan().any()):
            return "where p = 0 it divides 0 by 0: divide by max(1, |p|/r), which is never 0"
        words = same(out, right, 1e-9)
        if words is None:
            continue
        slips = {
            "this clips each component: a square, not a disc. |p| can be sqrt(2) r in it, and the dual of the square "
            "is |u_1| + |u_2|, the anisotropic functional": p.clamp(-r, r),
            "every vector gets the length r, also those inside the ball, which must stay": (
                r * p / size.clamp_min(1e-300)
            ),
            "one factor for the whole field: the constraint holds in each pixel apart": p
            / max(1.0, float(p.norm()) / r),
            "r is missing: this is the ball of radius 1": p / size.clamp_min(1),
            "long vectors get the length 1: multiply by r": p / size.clamp_min(r),
            "|p| is the Euclidean length, and this is the sum |p_1| + |p_2|": p / (p.abs().sum(0) / r).clamp_min(1),
            "|p| is the Euclidean length, and this is the larger component": p / (p.abs().amax(0) / r).clamp_min(1),
            "the root is missing: |p|^2 is not |p|": p / (size.square() / r).clamp_min(1),
            "the sum is over the wrong axis: the components are axis -3": (
                p / (p.square().sum(-1, keepdim=True).sqrt() / r).clamp_min(1)
            ),
            "this is p minus its projection: soft thresholding of lengths, the other half of Moreau's identity": p
            - right,
            "this is soft thresholding of each component, and the ball asks for a projection": p - p.clamp(-r, r),
            "nothing is shortened: a vector longer than r must get the length r": p,
        }
        return _slip(out, slips, words)
    return None


@exercise(
    title="05.2 a divergence",
    expects=Callable,
    hints=[
        "Collect what multiplies u[i, j] in sum_k <D u[k], p[k]>: p_1[i-1, j] once with +, p_1[i, j] once with -.",
        "So div p is made of backward differences: (p_1[i, j] - p_1[i-1, j]) / h + the same for p_2 along j.",
        "The last difference of D u is 0: the last row of p_1 and the last column of p_2 meet no u and count as 0; "
        "and so does p before the first row and column.",
    ],
    praise="forward differences for grad, backward ones for div: then summation by parts is exact",
)
def divergence(answer: Callable[[Tensor, float], Tensor]) -> str | None:
    """div p = -D^T p of the forward differences with zero flux through the border."""
    p = torch.randn(2, 7, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for h in (1.0, 0.25):
        out = answer(p.clone(), h)
        right = Divergence(h)(p)
        words = same(out, right, 1e-9)
        if words is None:
            continue
        a, b = p[0], p[1]
        kept = (torch.diff(a, dim=0, prepend=0 * a[:1]) + torch.diff(b, dim=1, prepend=0 * b[:, :1])) / h
        inner = (torch.diff(a, dim=0, prepend=a[:1]) + torch.diff(b, dim=1, prepend=b[:, :1])) / h
        forward = (torch.diff(a, dim=0, append=a[-1:]) + torch.diff(b, dim=1, append=b[:, -1:])) / h
        padded = (torch.diff(a, dim=0, append=0 * a[-1:]) + torch.diff(b, dim=1, append=0 * b[:, -1:])) / h
        slips = {
            "this is D^T p = -div p: the sign is reversed, since <D u, p> = -<u, div p>": -right,
            "h is missing: a derivative divides by it": right * h,
            "h multiplies: a derivative divides by it": right * h * h,
            "these are forward differences; the adjoint of forward differences has backward ones": forward,
            "these are forward differences of p, padded by 0; the adjoint has backward ones": padded,
            "the sign is reversed, <D u, p> = -<u, div p>; and in the last row and column p must count as 0": -kept,
            "p_2 is missing: div p is the sum of both derivatives": Divergence(h)(torch.stack([a, 0 * b])),
            "p_1 is missing: div p is the sum of both derivatives": Divergence(h)(torch.stack([0 * a, b])),
            "right inside, but in the last row and column p must count as 0: there D u = 0": kept,
            "right inside, but before the first row and column p counts as 0, not as its neighbour": inner,
            "it wraps around the border: here nothing flows through it": (
                (a - a.roll(1, 0)) / h + (b - b.roll(1, 1)) / h
            ),
            "these are forward differences that wrap around": (a.roll(-1, 0) - a) / h + (b.roll(-1, 1) - b) / h,
            "the components are exchanged: p_1 belongs to axis -2, p_2 to axis -1": (
                Divergence(h)(torch.stack([b, a]))
            ),
        }
        u = torch.randn(7, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        if isinstance(out, Tensor) and out.shape == u.shape and out.dtype == u.dtype:
            gap = float((Gradient(h)(u) * p).sum() + (u * out).sum())
            words = f"{words}; <D u, p> + <u, div p> = {gap:.2g}, not 0"
        return _slip(out, slips, words)
    return None


@exercise(
    title="05.3 two pixels",
    expects=Callable,
    hints=[
        "Write u = (m - d, m + d). Then u_2 - u_1 = 2 d, and |u - f|^2 splits into a part with m and a part with d.",
        "m is the mean of f. And d minimises 2 nu |d| + (d - e)^2 with e = (f_2 - f_1)/2.",
        "d = sign(e) max(|e| - nu, 0).",
    ],
    praise="both move by nu towards each other until they meet; this is Haar shrinkage, and lesson 08 returns to it",
)
def two_pixels(answer: Callable[[float, float, float], tuple[float, float]]) -> str | None:
    """m -+ S_nu(e), m = (f_1 + f_2)/2, e = (f_2 - f_1)/2."""
    cases = ((0.2, 1.0, 0.1), (0.9, 0.1, 0.15), (0.4, 0.5, 0.3))
    found = []
    for case in cases:
        out = answer(*case)
        if not isinstance(out, (tuple, list, Tensor)) or len(out) != 2:
            return f"the answer is the pair (u_1, u_2); got {described(out)}"
        found.append([float(v) for v in out])

    def pairs(difference: Callable[[float, float], float]) -> Tensor:
        """The pairs with the mean of f and half the difference d(e, nu)."""
        rows = [((a + b) / 2, difference((b - a) / 2, nu)) for a, b, nu in cases]
        return torch.tensor([[m - d, m + d] for m, d in rows], dtype=torch.float64)

    def soft(e: float, t: float) -> float:
        return math.copysign(max(abs(e) - t, 0.0), e)

    u, right = torch.tensor(found, dtype=torch.float64), pairs(soft)
    slips = {
        "each pixel moves by nu, and this moves it by nu/2: the derivative of nu |u_2 - u_1| is +-nu for each": (
            pairs(lambda e, nu: soft(e, nu / 2))
        ),
        "this moves it by 2 nu, not nu: the factor 1/2 of the data term": pairs(lambda e, nu: soft(e, 2 * nu)),
        "they have crossed: where they meet both are best": pairs(lambda e, nu: e - math.copysign(nu, e)),
        "this shrinks the grey values towards 0; TV shrinks their difference and keeps their mean": (
            torch.tensor([[soft(a, nu), soft(b, nu)] for a, b, nu in cases], dtype=torch.float64)
        ),
        "this averages them always: small nu leaves a difference": pairs(lambda e, nu: 0.0),
        "they move apart: TV draws them together": pairs(lambda e, nu: soft(e, -nu)),
        "for f_1 > f_2 they move apart, or cross: the sign of f_2 - f_1 is missing": pairs(lambda e, nu: e - nu),
        "for f_1 > f_2 the sign is lost: d = sign(e) max(|e| - nu, 0)": pairs(lambda e, nu: max(e - nu, 0.0)),
        "for f_1 > f_2 the sign is lost: d has the sign of e": pairs(lambda e, nu: max(abs(e) - nu, 0.0)),
    }
    for k, (a, b, nu) in enumerate(cases):
        name = f"for f = ({a:g}, {b:g}) and nu = {nu:g} the pair ({u[k, 0]:.4g}, {u[k, 1]:.4g})"
        if words := same(u[k], right[k], 1e-6, name):
            return _slip(u, slips, f"{words}. Its mean must be that of f, {(a + b) / 2:g}", 1e-6)
    return None


@exercise(
    title="05.4 a hill by its level lines",
    expects=Callable,
    hints=[
        "The level set {u > t} is a disc. What is its radius?",
        "a (1 - r^2/R^2) = t gives r = R sqrt(1 - t/a): integrate 2 pi r over t from 0 to a.",
    ],
    praise="the same number as the integral of |grad u|: check it",
)
def hill(answer: Callable[[float, float], float]) -> str | None:
    """4 pi a R / 3: int_0^a 2 pi R sqrt(1 - t/a) dt."""
    pairs = ((1.0, 0.25), (2.5, 0.4), (0.6, 1.5))
    found = [answer(a, R) for a, R in pairs]
    numbers = all(isinstance(v, (int, float)) or (isinstance(v, Tensor) and v.ndim == 0) for v in found)
    if not numbers:
        return f"the answer is a number; got {described(found[0])}"
    out = torch.tensor([float(v) for v in found], dtype=torch.float64)

    def values(formula: Callable[[float, float], float]) -> Tensor:
        return torch.tensor([formula(a, R) for a, R in pairs], dtype=torch.float64)

    pi = math.pi
    words = same(out, values(lambda a, R: 4 * pi * a * R / 3), 1e-4)  # by quadrature is right as well
    slips = {
        "this is the anisotropic value: a disc of radius r has the perimeter 2 pi r, not 8 r": (
            values(lambda a, R: 16 * a * R / 3)
        ),
        "this is the hill's volume: integrate the perimeters of the level sets, not their areas": (
            values(lambda a, R: pi * a * R * R / 2)
        ),
        "this is the integral of |grad u|^2, Tikhonov's": values(lambda a, R: 2 * pi * a * a),
        "this is the value of a cone: the radius at the level t is R sqrt(1 - t/a), not R (1 - t/a)": (
            values(lambda a, R: pi * a * R)
        ),
        "every level counts with the perimeter of the foot: the radius shrinks with t": (
            values(lambda a, R: 2 * pi * a * R)
        ),
        "the height a is missing: there are more level lines on a higher hill": values(lambda a, R: 4 * pi * R / 3),
        "the perimeter of a disc is 2 pi r, not pi r": values(lambda a, R: 2 * pi * a * R / 3),
        "du/dx_1 alone is not enough: this is the integral of |u_1|": values(lambda a, R: 8 * a * R / 3),
    }
    return None if words is None else _slip(out, slips, words, 1e-4)


@exercise(
    title="05.5 when does a disc vanish?",
    expects=Callable,
    hints=[
        "It vanishes when the value inside has sunk to the value outside: 1 - 2 nu/R = 2 pi nu R/(1 - pi R^2).",
        "Solve for nu: the bracket 1/R + pi R/(1 - pi R^2) is 1/(R (1 - pi R^2)).",
        "(3.2) weights the data, not the regulariser: lambda = 1/nu.",
    ],
    praise="the smaller the disc, the larger lambda must be to keep it: scale is what TV measures",
)
def vanishing(answer: Callable[[float], float]) -> str | None:
    """lambda = 2 / (R (1 - pi R^2)): contrast 0."""
    radii = (0.1, 0.25, 0.35)
    found = [answer(R) for R in radii]
    if not all(isinstance(v, (int, float)) or (isinstance(v, Tensor) and v.ndim == 0) for v in found):
        return f"the answer is a number; got {described(found[0])}"
    out = torch.tensor([float(v) for v in found], dtype=torch.float64)

    def values(formula: Callable[[float, float], float]) -> Tensor:
        return torch.tensor([formula(R, 1 - math.pi * R * R) for R in radii], dtype=torch.float64)

    words = same(out, values(lambda R, rest: 2 / (R * rest)), 1e-6)
    slips = {
        "this is nu, the weight of the regulariser; (3.2) has lambda = 1/nu at the data": (
            values(lambda R, rest: R * rest / 2)
        ),
        "this is where the value inside would be 0; but the value outside has risen: they meet earlier": (
            values(lambda R, rest: 2 / R)
        ),
        "this is nu, and where the value inside would be 0; the value outside has risen, and (3.2) has lambda = 1/nu": (
            values(lambda R, rest: R / 2)
        ),
        "a factor 2 is missing: div z = -2/R inside": values(lambda R, rest: 1 / (R * rest)),
        "the value outside is 2 pi nu R over the area of the rest, 1 - pi R^2; this has it over 1": (
            values(lambda R, rest: 2 / R + 2 * math.pi * R)
        ),
        "the value outside rises: the signs in 1 - 2 nu/R = 2 pi nu R/(1 - pi R^2)": (
            values(lambda R, rest: 2 / R - 2 * math.pi * R / rest)
        ),
    }
    return None if words is None else _slip(out, slips, words)
