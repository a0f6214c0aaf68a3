r"""u^{k+1} = u^k - tau [sum_i q_i^T (g_i(|q_i u^k|^2) q_i u^k) + lam (u^k - f)], g and q learned.   (3.3)

    LearnedDiffusivity   g(s) = g_0(s) e^{a(s)}, a piecewise linear in log(1 + s/scale), 0 at the start
    LearnedDiffusion     the field, filters and diffusivities in groups, for every scheme of the course
    DiffusionStep        one explicit step with the reaction, its length limited to the stable one
    learned_diffusion    k of them as a network; before training it is Euler's scheme for a given flow

With one group, |q u|^2 is the length of a gradient, as in Perona and Malik's equation; with every filter alone and a g
of its own it is the trainable nonlinear reaction diffusion of Chen and Pock. And since a shrinkage is a diffusion, a
step with the bands of a tight frame is a framelet shrinkage (4.5) with a learned level tau gamma^2 g(gamma^2 |d|^2).

Stability, whatever was learned. With g frozen, v -> sum_i q_i^T g_i q_i v + lam v is symmetric, and its eigenvalues lie
between lam and B + lam,

    B >= sup_w sum_i max(g_i) |q_i^(w)|^2,      max g_i <= g_0(0) e^{max a},

so that v -> v - t (...) has norm <= 1 for t <= 2/(B + lam). A step is min(tau, 2/(B + lam)) long: tau itself until the
learning would make it unstable.

Sources: Chen and Pock, Trainable nonlinear reaction diffusion (2017).
Paper: (3.3), (4.5), Section 5.1.  Notebook: 14.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import StabilityWarning
from companion.flows.diffusion import Diffusion, TVFlow
from companion.flows.diffusivities import Diffusivity
from companion.flows.field import Field
from companion.flows.schemes import check_dt
from companion.nets.held_moments import symbol_bound
from companion.nets.learned_gradient import LearnedGradient
from companion.nets.odenet import ODENet
from companion.operators.checks import check_picture


class Observed(NamedTuple):
    """The state of a restoration: the iterate u, and the data f that it started from."""

    u: Tensor
    f: Tensor


class LearnedDiffusivity(Diffusivity):
    r"""g(s) = g_0(s) e^{a(log(1 + s/scale))}, a piecewise linear on `nodes` points, constant beyond the last.   (3.3)

    start  g_0, decreasing: a Diffusivity or any function of s = |grad u|^2; its own numbers stay as they are
    nodes  how many numbers a_j, >= 2, are learned; they start at 0, where g = g_0
    reach  the last node lies at s = reach scale
    scale  > 0, in the unit of s; by default where g_0 has fallen to one half of g_0(0)

    g > 0 always; that it decreases is not asked of it. Raises ValueError for nodes < 2, reach <= 0, scale <= 0, and
    for a g_0 that never falls to one half and no scale.

    >>> from companion import Rational
    >>> g = LearnedDiffusivity(Rational(2.0))
    >>> round(g.scale, 9), float(g(torch.tensor(4.0)).detach())
    (4.0, 0.5)
    """

    start: Any

    def __init__(
        self, start: Callable[[Tensor], Tensor], nodes: int = 17, reach: float = 1000.0, scale: float | None = None
    ):
        super().__init__()
        scale = _half(start) if scale is None else scale
        if nodes < 2 or not 0 < reach < math.inf or not 0 < scale < math.inf:
            raise ValueError(
                "A learned diffusivity has 2 nodes or more, at s = 0 to s = reach scale, both finite and > 0; got "
                f"nodes={nodes}, reach={reach}, scale={scale}."
            )
        self.start, self.scale, self.reach = start, float(scale), float(reach)
        self.a = nn.Parameter(torch.zeros(nodes, dtype=torch.float64))

    def forward(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.start(s) * self.exponent(s).exp()

    def exponent(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """a(log(1 + s/scale)): what was learned, log(g/g_0)."""
        last = len(self.a) - 1
        z = (torch.log1p(s / self.scale) * (last / math.log1p(self.reach))).clamp(max=last)
        i = z.detach().long().clamp(max=last - 1)
        a = self.a.to(s.dtype)
        left, right = (a.index_select(0, (i + d).flatten()).reshape(s.shape) for d in (0, 1))
        return left + (z - i) * (right - left)

    def largest(self) -> Float[Tensor, ""]:
        """g_0(0) e^{max a} >= max g."""
        return self.start(self.a.new_zeros(())) * self.a.max().exp()


class LearnedDiffusion(Field):
    r"""F(u) = -sum_i q_i^T (g_i(|q u|_i^2) q_i u), |.|_i over the group of i; (*batch, N1, N2) to itself.   (3.3)

    g      one LearnedDiffusivity for each group
    grad   a LearnedGradient: the filters q_i
    sizes  how the filters are cut into groups of neighbours: (2,) for one |grad u|, (1, 1, ..., 1) for each alone

    max_dt = 2/B, B >= sup_w sum_i max(g_i) |q_i^(w)|^2, of the present g and q. Raises ValueError if the groups do not
    hold all filters, or have not one g each.
    """

    keeps_mean = True
    g: Any

    def __init__(self, g: Sequence[LearnedDiffusivity], grad: LearnedGradient, sizes: Sequence[int]):
        super().__init__()
        filters = len(grad.q.start)
        if sum(sizes) != filters or len(g) != len(sizes):
            raise ValueError(
                f"The {filters} filters fall into groups, each with one diffusivity; got groups of {tuple(sizes)} and "
                f"{len(g)} diffusivities."
            )
        self.g, self.grad, self.sizes = nn.ModuleList(g), grad, list(sizes)

    def speed(self) -> Float[Tensor, ""]:
        """B: the largest rate at which anything decays."""
        q = self.grad.q(self.grad.q.start)
        parts = [g.largest().sqrt() * part for g, part in zip(self.g, q.split(self.sizes), strict=True)]
        return symbol_bound(torch.cat(parts))

    @property
    def max_dt(self) -> float:
        """2/B."""
        return 2 / float(self.speed().detach())

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        check_picture(u, "u", 2)
        parts = self.grad(u).split(self.sizes, -3)
        flux = [g(p.square().sum(-3, keepdim=True)) * p for g, p in zip(self.g, parts, strict=True)]
        return -self.grad.adjoint(torch.cat(flux, -3))


class DiffusionStep(nn.Module):
    r"""u - t [-F(u) + lam (u - f)], t = min(tau, 2/(B + lam)): one step, (u, f) -> (u, f).   (3.3)

    F    a LearnedDiffusion
    tau  > 0
    lam  >= 0; if > 0 its logarithm is a parameter. 0: no reaction, and none is learned

    As the first map of a run it takes the picture for f. Raises ValueError for lam < 0; a StabilityWarning says that
    tau is longer than the stable step, and cut to it.
    """

    def __init__(self, F: LearnedDiffusion, tau: float, lam: float = 0.0):
        super().__init__()
        self.F, self.tau = F, check_dt(tau)
        if not 0 <= lam < math.inf:
            raise ValueError(f"The weight lam of the reaction lam (u - f) is finite and >= 0; got lam={lam}.")
        self.log_lam = nn.Parameter(torch.tensor(lam, dtype=torch.float64).log()) if lam else None
        if tau > (bound := 2 / (float(F.speed().detach()) + lam)) * (1 + 1e-9):
            warnings.warn(
                f"tau = {tau:.4g} is longer than the stable step 2/(B + lam) = {bound:.4g}, and is cut to it.",
                StabilityWarning,
                stacklevel=2,
            )

    @property
    def lam(self) -> Tensor | float:
        """The weight of the reaction."""
        return 0.0 if self.log_lam is None else self.log_lam.exp()

    def length(self) -> Float[Tensor, ""]:
        """t = min(tau, 2/(B + lam))."""
        return (2 / (self.F.speed() + self.lam)).clamp(max=self.tau)

    def start(self, u0: Tensor) -> Observed:
        """(u_0, u_0): the picture is its own data."""
        return Observed(u0, u0)

    def forward(self, x: Observed | Tensor) -> Observed:
        u, f = self.start(x) if isinstance(x, Tensor) else x
        change = self.F(u)
        if self.log_lam is not None:
            change = change - self.lam.to(u.dtype) * (u - f)  # type: ignore[union-attr]
        return Observed(u + self.length().to(u.dtype) * change, f)


def learned_diffusion(
    F: Diffusion,
    tau: float,
    k: int,
    *,
    each: bool = False,
    shared: bool = False,
    vanishing: int = 1,
    N: int | None = None,
    nodes: int = 17,
) -> ODENet:
    r"""f -> u^k: k steps with learned g and q, before training those of Euler(F, tau) from u^0 = f.   (3.3)

    F          a Diffusion in the plane with sigma = 0: PeronaMalik, or a TVFlow, whose nu gives lam = 1/nu
    each       False: one g(|grad u|^2), as F has it; True: every filter by itself, sum_i q_i^T g_i(|q_i u|^2) q_i u
    shared     True: one and the same step k times, a recurrent net
    vanishing, N, nodes   as in LearnedGradient and LearnedDiffusivity

    Raises TypeError for another F, ValueError for sigma > 0 or k < 1.

    >>> from companion import PeronaMalik, Rational
    >>> net = learned_diffusion(PeronaMalik(Rational(0.1)), tau=0.2, k=5)
    >>> sum(theta.numel() for theta in net.parameters())                    # 5 (17 + 2 x 9)
    175
    """
    if not isinstance(F, Diffusion):
        raise TypeError(f"A learned diffusion starts from a Diffusion, such as PeronaMalik; got {type(F).__name__}.")
    if F.sigma or k < 1:
        raise ValueError(
            f"A learned diffusion has k >= 1 steps, and asks for g(|grad u|^2) without smoothing; got k={k}, "
            f"sigma={F.sigma}."
        )
    lam = 1 / F.nu if isinstance(F, TVFlow) and F.nu else 0.0

    def step() -> DiffusionStep:
        grad = LearnedGradient(F.grad, vanishing, N)
        filters = len(grad.q.start)
        sizes = [1] * filters if each else [filters]
        return DiffusionStep(LearnedDiffusion([LearnedDiffusivity(F.g, nodes) for _ in sizes], grad, sizes), tau, lam)

    return ODENet([step()] * k if shared else [step() for _ in range(k)])


def _half(g: Callable[[Tensor], Tensor]) -> float:
    """The s with g(s) = g(0)/2, by bisection of its logarithm; nan where g never falls so far."""
    low, high = -700.0, 700.0
    value = lambda s: float(g(torch.tensor(s, dtype=torch.float64)).detach())  # noqa: E731
    target = value(0.0) / 2
    if not value(math.exp(high)) <= target:
        return math.nan
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if value(math.exp(middle)) > target else (low, middle)
    return math.exp((low + high) / 2)
