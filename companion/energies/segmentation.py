r"""min_{0<=u<=1} <(c_1 - f)^2 - (c_2 - f)^2, u> + |lam . W u|_1: a picture cut in two, convexly.   Section 4.2

The pixels of a set S are to be near c_1 and the others near c_2, and the boundary of S short. With u = 1_S that is

    sum_S (c_1 - f)^2 + sum_{not S} (c_2 - f)^2 + length(S) = sum (c_2 - f)^2 + <r, u> + R(K u),

r = (c_1 - f)^2 - (c_2 - f)^2, u in {0, 1}. Chan, Esedoglu and Nikolova let u take all values in [0, 1], which makes the
problem convex for fixed means; [48] puts the frame's |lam . W u|_1 in the place of TV, [99] adds a prior of shape.

What the relaxation gives depends on R. If R(K u) = int_0^1 R(K 1_{u > s}) ds (the coarea formula: TV of one-sided
differences entry by entry, and in the continuum |grad u| itself), almost every level set {u > s} of a minimiser solves
the problem in {0, 1}, whatever s. A frame in two dimensions has no coarea formula, since its filters compare sums of
more than two pixels: the minimum over [0, 1] may be lower than over {0, 1} and {u > 1/2} is then no minimiser. The
isotropic TV of a grid has none either, only nearly. `rounding` measures what is lost.

Paper: Section 4.2 [48, 99].  Notebook: 15.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from companion.energies.functional import Functional, check_data, fitted
from companion.energies.models import Problem
from companion.energies.norms import L1, GroupL1, slack
from companion.operators.differences import Gradient
from companion.operators.linear import LinearOperator


class Region(Functional):
    r"""<r, u> if 0 <= u <= 1, else infinity: what it costs to take the pixels u into the set.

    r  the cost of a pixel, real and finite; negative where a pixel is wanted

    prox_tau(v) = min(max(v - tau r, 0), 1); F*(p) = sum max(p - r, 0), finite, so that `Problem.gap` bounds every
    solver's error.

    >>> Region(torch.tensor([-1.0, 1.0])).prox(torch.tensor([0.5, 0.5]), 0.25)
    tensor([0.7500, 0.2500])
    """

    proximal = True
    f: Tensor

    def __init__(self, r: Tensor):
        super().__init__()
        self.register_buffer("f", check_data(r))

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        outside = ((v < 0) | (v > 1)).any()
        return torch.where(outside, math.inf, (fitted(self.f, v) * v).sum())

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        return (v - tau * fitted(self.f, v)).clamp(0, 1)

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """sum max(p - r, 0)."""
        return (p - fitted(self.f, p)).clamp_min(0).sum()


def region_cost(f: Float[Tensor, "*shape"], means: Tensor) -> Float[Tensor, "*shape"]:
    """r = (c_1 - f)^2 - (c_2 - f)^2, for means = (c_1, c_2): of the set, and of what surrounds it."""
    c = torch.as_tensor(means, dtype=f.dtype, device=f.device)
    if c.shape != (2,):
        raise ValueError(
            f"A picture is cut in two by two means (c_1, c_2), of the set and of the rest; got shape {tuple(c.shape)}."
        )
    return (c[0] - f).square() - (c[1] - f).square()


def region_means(f: Float[Tensor, "*shape"], u: Float[Tensor, "*shape"]) -> Float[Tensor, "2"]:
    r"""c_1 = <f, u> / <1, u>,  c_2 = <f, 1 - u> / <1, 1 - u>: the best means for a given u.

    Where the set, or the rest, is empty its mean is that of the whole picture.
    """
    shares = torch.stack([u, 1 - u])
    size = shares.flatten(1).sum(1)
    return torch.where(size > 0, (shares * f).flatten(1).sum(1) / size.clamp_min(torch.finfo(u.dtype).tiny), f.mean())


def segmentation(f: Tensor, means: Tensor, W: LinearOperator, lam: Tensor | float) -> Problem:
    r"""min_{0<=u<=1} <(c_1 - f)^2 - (c_2 - f)^2, u> + |lam . W u|_1.   For PDHG, or ADMM if W is tight.

    f      a picture, (*space); a batch would share the two means
    means  (c_1, c_2)
    lam    one number, or one for each band: W.weights(lam) has 0 on the average. With W = Gradient() and one number it
           is the entrywise TV of one-sided differences, which has a coarea formula
    """
    return _scaled(Problem(Region(region_cost(f, means)), L1(lam), W))


def tv_segmentation(f: Tensor, means: Tensor, lam: float, grad: LinearOperator | None = None) -> Problem:
    r"""min_{0<=u<=1} <(c_1 - f)^2 - (c_2 - f)^2, u> + lam sum |grad u|: Chan, Esedoglu and Nikolova.   For PDHG."""
    grad = Gradient(dim=f.ndim) if grad is None else grad
    return _scaled(Problem(Region(region_cost(f, means)), GroupL1(lam, -f.ndim - 1), grad))


def region_energy(f: Tensor, problem: Problem, u: Tensor, means: Tensor) -> Float[Tensor, ""]:
    r"""<(c_1 - f)^2, u> + <(c_2 - f)^2, 1 - u> + R(K u): what the alternation between u and the means lowers."""
    c = torch.as_tensor(means, dtype=f.dtype, device=f.device)
    fit = (c[0] - f).square() * u + (c[1] - f).square() * (1 - u)
    return fit.sum() + problem.R(problem.K(u))


def rounding(problem: Problem, u: Float[Tensor, "*shape"], s: float = 0.5) -> Float[Tensor, ""]:
    r"""J(1_{u > s}) - J(u), J the objective: what a threshold loses; 0 for a minimiser u if R has a coarea formula.

    It bounds how far {u > s} is from the best set, if u is a minimiser: J(u) is at most the best set's J.
    """
    if not 0 <= s < 1:
        raise ValueError(f"A level set {{u > s}} of 0 <= u <= 1 needs 0 <= s < 1; got s = {s}.")
    return problem((u > s).to(u.dtype)) - problem(u)


def _scaled(problem: Problem) -> Problem:
    """The problem, lam tried on coefficients of its own shape; u has size 1 and its multiplier size lam."""
    r = problem.E.domain()
    lam = problem.R.lam
    if isinstance(problem.R, L1):
        problem.R.check(problem.K(r))
    top = float(lam.max())
    problem.ratio = 1 / (top * slack(r)) if top > 0 else None
    return problem
