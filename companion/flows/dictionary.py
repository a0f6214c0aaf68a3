r"""lambda(d) = tau gamma^2 g(gamma^2 |d|^2),   g(s) = lambda(sqrt(s) / |gamma|) / (tau gamma^2): a shrinkage is a
diffusion, and back.   (4.4), (4.5)

A band of first order is a difference, gamma W_ell u ~ d_ell u with gamma = 1/(C h) (Prop 4.1), and its adjoint is
minus one, gamma W_ell^T p ~ -d_ell p, since (gamma W_ell)^T ~ d_ell^T = -d_ell. So an explicit step of Perona and
Malik's flow

    u - tau sum_ell gamma W_ell^T [g(|gamma W u|^2) gamma W_ell u] = u - sum_ell W_ell^T [lambda(W u) W_ell u]

takes from each first band the fraction lambda. With W^T W = I this is W^T S(W u), S(d) = d (1 - lambda(d)), if all
other bands pass unchanged. (As printed, gamma W_ell^T ~ +d_ell: the flow would run backwards. The printed level
tau gamma g(|d|^2) lacks one gamma in front and those inside g.)

                C        gamma^2    level         in [0, 1] for       stable for
    Haar        -1/2     4/h^2      4 tau g/h^2   tau <= h^2/4        tau <= h^2/2
    linear      -1/2^{1/2}   2/h^2  2 tau g/h^2   tau <= h^2/2        tau <= 2 h^2         (max g = 1)

Read the other way, a shrinkage of one number lam is a diffusivity, with g(0) = 1/(tau gamma^2), the unit of time:

    soft, mu = tau |gamma|    g = min(1/(tau gamma^2), 1/sqrt s)        the flow of total variation, capped
    hard                      g = 1/(tau gamma^2) up to s = (gamma lam)^2, then 0
    firm                      between the two: falls to 0 at s = (gamma mu)^2, and stays there
    garrote                   g = lam^2/(tau s) from s = (gamma lam)^2 on: the flux falls like 1/|grad u|

Paper: (4.4), (4.5), Section 4.3.  Notebook: 08.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import StabilityWarning
from companion.flows.diffusivities import Diffusivity
from companion.flows.shrinkage import Isotropic, IsotropicSoft, Soft, Threshold
from companion.operators.derivatives import check_grid_step
from companion.operators.frames import FrameletTransform
from companion.operators.gradients import FrameGradient

Function = Callable[[Tensor], Tensor]
GOLDEN = (3 - 5**0.5) / 2


class DiffusionShrinkage(nn.Module):
    r"""S(d)_ell = d_ell (1 - tau gamma^2 g(gamma^2 sum_m d_m^2)) in the d bands of first order.   (4.4), (4.5)

    g          a decreasing function of s = |grad u|^2, so that g(0) is its maximum: any Diffusivity
    W          a FrameletTransform of one level, tight, of one-dimensional filters with a band of first order: splines
    tau, h     the time step and the grid step
    isotropic  False: each band has a level of its own, tau gamma^2 g(gamma^2 d_ell^2)
    rest       in [0, 1]: what is taken from all other high bands. 0: they pass, and what they alone hold (for Haar the
               checkerboard, for linear splines stripes too) never changes. 1: it is gone after one step

    Shrinkage(W, S) is Euler(PeronaMalik(g, FrameGradient(W.bank, h=h, boundary=W.boundary)), tau) for rest = 0.

    Raises ValueError for another W, tau <= 0, h <= 0, rest outside [0, 1]; warns with StabilityWarning for tau >
    max_tau.
    """

    def __init__(
        self, g: Function, W: FrameletTransform, tau: float, h: float = 1.0, isotropic: bool = True, rest: float = 0.0
    ):
        super().__init__()
        check_step(tau)
        if not 0 <= rest <= 1:
            raise ValueError(f"The level `rest` of the other bands is a fraction taken away, in [0, 1]; got {rest}.")
        self.g, self.gamma = g, first_factor(W, h)
        self.tau, self.h, self.isotropic, self.rest = float(tau), float(h), isotropic, float(rest)
        self.bank, self.dim, self.boundary, self.bands = W.bank, W.dim, W.boundary, len(W.bands)
        self.others = tuple(band.ell for band in W.bands if sum(band.ell) > 1)
        if tau > self.max_tau * (1 + 1e-9):
            warnings.warn(
                f"The shrinkage is a diffusion with tau = {tau:.4g}, stable for tau <= {self.max_tau:.4g}; its level "
                f"reaches {self.max_level:.4g}. The iteration may diverge.",
                StabilityWarning,
                stacklevel=3,
            )

    def curve(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """lambda(t) = tau gamma^2 g(gamma^2 t^2): the level at the size t = |d|."""
        return self.tau * self.gamma**2 * self.g(self.gamma**2 * t.square())

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """lambda(d): in the first bands the diffusivity, `rest` in the other high bands, 0 on the average."""
        axis = -self.dim - 1
        if d.shape[axis] != self.bands:
            raise ValueError(
                f"The shrinkage was made for the {self.bands} bands of its W on axis {axis}; got {d.shape[axis]}."
            )
        s = (self.gamma * d.narrow(axis, 1, self.dim)).square()  # the bands of first order follow the average
        level = self.tau * self.gamma**2 * self.g(s.sum(axis, keepdim=True) if self.isotropic else s)
        low, others = d.narrow(axis, 0, 1), d.narrow(axis, 1 + self.dim, self.bands - 1 - self.dim)
        return torch.cat([torch.zeros_like(low), level.expand_as(s), torch.full_like(others, self.rest)], axis)

    def forward(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """S(d) = d (1 - lambda(d))."""
        return d * (1 - self.level(d))

    @property
    def largest(self) -> float:
        """max g = g(0)."""
        return float(self.g(torch.zeros(1, dtype=torch.float64)).detach())

    @property
    def max_level(self) -> float:
        """tau gamma^2 max g: above 1 a coefficient changes its sign, and S is no shrinkage."""
        return self.tau * self.gamma**2 * self.largest

    @property
    def shrinks(self) -> bool:
        """All levels lie in [0, 1], as (4.4) asks: tau <= 1/(gamma^2 max g)."""
        return self.max_level <= 1 + 1e-12

    @functools.cached_property
    def max_tau(self) -> float:
        r"""The largest tau with sum_ell lambda_ell |q_ell^(w)|^2 <= 2 for all w at the largest levels, so that |u| does
        not grow: 2/(|grad|^2 max g) for rest = 0.

        The sum is convex in tau, and |grad|^2 max g is its largest slope: steps of Newton's kind from above do not pass
        the root.
        """
        grad = FrameGradient(self.bank, h=self.h, dim=self.dim)
        slope = grad.bound * self.largest
        tau = 2 / slope
        while self.rest and self.others:
            weights = [*((tau * self.largest) ** 0.5 * w for w in grad.weights), *[self.rest**0.5] * len(self.others)]
            both = FrameGradient(self.bank, (*grad.bands, *self.others), self.h, self.dim, weights=weights)
            if both.bound <= 2 + 1e-9:
                break
            tau -= (both.bound - 2) / slope
        return tau


def shrinkage_from(
    g: Function, W: FrameletTransform, tau: float, h: float = 1.0, isotropic: bool = True, rest: float = 0.0
) -> DiffusionShrinkage:
    r"""S with the level tau gamma^2 g(gamma^2 |d|^2): the shrinkage that a diffusivity is, see `DiffusionShrinkage`.
    (4.4)

    >>> from companion import Rational, bspline
    >>> S = shrinkage_from(Rational(0.1), FrameletTransform(bspline(1)), tau=0.25)
    >>> S.gamma, S.max_level, S.max_tau, S.shrinks
    (-2.0, 1.0, 0.5, True)
    """
    return DiffusionShrinkage(g, W, tau, h, isotropic, rest)


class ShrinkageDiffusivity(Diffusivity):
    r"""g(s) = lambda(sqrt(s) / |gamma|) / (tau gamma^2): the diffusivity that a level is.   (4.4)

    level  from sizes t >= 0 to [0, 1]; a Module where it has parameters
    tau    the time step of one shrinkage
    gamma  1/(C h), the factor that makes a derivative of the band

    g(0) = 1/(tau gamma^2) where lambda(0) = 1: not the 1 of (3.3), a matter of the unit of time.
    """

    def __init__(self, level: Function, tau: float, gamma: float):
        super().__init__()
        check_step(tau)
        self.level, self.tau, self.gamma = level, float(tau), float(gamma)

    def forward(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        t = s.clamp_min(torch.finfo(s.dtype).tiny).sqrt() / abs(self.gamma)
        return self.level(t) / (self.tau * self.gamma**2)

    @property
    def threshold(self) -> float:
        r"""K = gamma^2 t^2, where the flux t lambda(t) is largest; infinity where it never falls.

        On 12001 points from 1e-30 to 1e30, then by golden sections: exact where lambda has a kink or a jump there
        (hard, firm, garrote), else to about eight digits.
        """
        t = torch.logspace(-30, 30, 12001, dtype=torch.float64)
        values = t * self.level(t).detach()
        top = int(values.argmax())
        if float(values[top]) <= float(values[-1]) * (1 + 1e-9):
            return math.inf
        low, high = math.log(t[max(top - 1, 0)]), math.log(t[top + 1])
        for _ in range(120):
            a, b = low + GOLDEN * (high - low), high - GOLDEN * (high - low)
            x = torch.tensor([a, b], dtype=torch.float64).exp()
            left, right = (x * self.level(x).detach()).tolist()
            low, high = (low, b) if left > right else (a, high)
        return self.gamma**2 * math.exp(low + high)

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, gamma={self.gamma:g}"


def diffusivity_from(
    S: Threshold | Isotropic | DiffusionShrinkage, W: FrameletTransform, tau: float, h: float = 1.0
) -> Diffusivity:
    r"""g(s) = lambda(sqrt(s) / |gamma|) / (tau gamma^2): of which diffusion one step tau is the shrinkage S.   (4.4)

    S      Isotropic(...), IsotropicSoft or a Threshold, with one number lam; or `shrinkage_from(g, ...)`: then g again
    W      the transform, of one level, whose bands of first order S acts on
    tau    the time that one shrinkage is said to take: another tau gives the same flow in another unit of time
    h      the grid step

    Isotropic(S, W, first bands) is then Euler(PeronaMalik(g, grad), tau), grad the first bands of W. A Threshold acts
    on each band alone, as `shrinkage_from(..., isotropic=False)` does.

    Raises TypeError for another S; ValueError for a tensor lam, another W, tau <= 0 or h <= 0.

    >>> from companion import Garrote, bspline
    >>> W = FrameletTransform(bspline(1))
    >>> g = diffusivity_from(Garrote(0.1), W, tau=0.25)           # Haar: gamma^2 = 4, g(0) = 1/(4 tau)
    >>> g(torch.tensor([0.0, 0.04, 0.16])), round(g.threshold, 12)
    (tensor([1.0000, 1.0000, 0.2500]), 0.04)
    """
    gamma = first_factor(W, h)
    if isinstance(S, DiffusionShrinkage):
        return ShrinkageDiffusivity(S.curve, tau, gamma)
    scalar = S.S if isinstance(S, Isotropic) else S
    if not isinstance(scalar, Threshold):
        raise TypeError(
            "A diffusivity is read off a threshold, such as Garrote(lam) or Isotropic(Hard(lam), W), or off "
            f"shrinkage_from(g, ...); got {type(S).__name__}."
        )
    if scalar.lam.ndim:
        raise ValueError(
            f"A diffusivity is read off one curve lambda(t), so off one number lam; got a tensor of shape "
            f"{tuple(scalar.lam.shape)}. Use Soft(lam) in place of Soft(W.weights(lam))."
        )
    if isinstance(scalar, IsotropicSoft):
        scalar = Soft(scalar.lam)
    return ShrinkageDiffusivity(scalar.level, tau, gamma)


def first_factor(W: FrameletTransform, h: float = 1.0) -> float:
    r"""gamma = 1/(C h), the factor with gamma W_ell u ~ d_ell u for the bands of first order: -2/h for Haar.   Prop 4.1

    Raises ValueError unless W has one level, W^T W = I, one-dimensional filters, and a q_1 of first order.
    """
    check_grid_step(h)
    if W.levels != 1 or not W.tight or not W.separable or W.bank[1].vanishing_order() != (1,):
        raise ValueError(
            "The dictionary reads a flow off the first bands (1,0), (0,1) of one level, W^T W = I, with a filter q_1 "
            f"of first order: bspline(m). Got {W}, q_1 of order {W.bank[1].vanishing_order()}. FramePDE takes others."
        )
    return 1 / (W.bank[1].constant(1) * h)


def check_step(tau: float) -> None:
    """Raise ValueError unless the time step is finite and > 0."""
    if not 0 < tau < math.inf:
        raise ValueError(f"The time step tau of one shrinkage must be finite and > 0; got tau={tau}.")
