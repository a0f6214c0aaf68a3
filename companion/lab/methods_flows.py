r"""The flows and shrinkages of the course as lines of the leaderboard: (f, A, sigma, weight) -> u.   (3.3), (4.5)

For A = I. A flow starts at f and stops at the time t = weight, which the search chooses; its contrast is a multiple of
sigma fixed beforehand, on training photographs. A shrinkage has thresholds weight sigma |q_{ell,l}|. For the mask the
pixels of the hole flow, and the known ones, noise and all, stay.

Paper: (3.3), (4.4)-(4.7), Section 3.  Notebook: 14.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from companion import (
    Charbonnier,
    CurvatureMotion,
    DiffusionInpainting,
    EdgeEnhancing,
    Exponential,
    FastDecay,
    Field,
    FourthOrder,
    FrameletTransform,
    Garrote,
    Hard,
    Heat,
    LinearOperator,
    NavierStokesInpainting,
    PeronaMalik,
    Rational,
    SemiImplicit,
    Shrinkage,
    Soft,
    Threshold,
    TransportInpainting,
    TVFlow,
    bspline,
    run,
)

# ---- (4.5) ------------------------------------------------------------------------------------------------------


def shrunk(f: Tensor, S: type[Threshold], lam: float, levels: int = 3, k: int = 1) -> Tensor:
    """k steps u <- W^T S(W u), W of linear B-splines, thresholds lam |q_{ell,l}|.   (4.5)"""
    W = FrameletTransform(bspline(2), levels)
    return run(Shrinkage(W, S(W.weights(lam * W.gains))), f, k=k).u


def soft(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """One step with the soft threshold, three levels.   (4.5)"""
    return shrunk(f, Soft, weight * sigma)


def hard(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """One step with the hard threshold, three levels.   (4.4)"""
    return shrunk(f, Hard, weight * sigma)


def garrote(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """One step with the garrote, three levels.   (4.4)"""
    return shrunk(f, Garrote, weight * sigma)


def iterated(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """Ten steps with the soft threshold, two levels: a nonlinear diffusion.   (4.5)"""
    return shrunk(f, Soft, weight * sigma, levels=2, k=10)


# ---- u_t = F(u) -------------------------------------------------------------------------------------------------


def flowed(F: Field, f: Tensor, t: float) -> Tensor:
    """u(t) by explicit steps, none longer than 0.9 max_dt."""
    return F.flow(f, t, 0.9 * F.max_dt).u


def heat(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """u_t = Laplace u.   Section 3"""
    return flowed(Heat(), f, weight)


def perona_malik(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """u_t = div(g grad u), g(s) = 1 / (1 + s / K), K^{1/2} = sigma.   (3.3)"""
    return flowed(PeronaMalik(Rational(sigma)), f, weight)


def catte(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """The same with g at grad(G_0.7 * u), g(s) = e^{-s / (2 K)}, K^{1/2} = sigma / 2.   (3.3), [28]"""
    return flowed(PeronaMalik(Exponential(0.5 * sigma), sigma=0.7), f, weight)


def edge_enhancing(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """Weickert's EED: along edges in full, across them by g(|grad G_0.7 * u|^2), contrast sigma / 2.   [161]"""
    return flowed(EdgeEnhancing(FastDecay(0.5 * sigma), sigma=0.7), f, weight)


def tv_flow(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """u_t = div(grad u / |grad u|), |.| with eps = 0.01; time weight sigma in 30 implicit steps.   (3.2)"""
    return run(SemiImplicit(TVFlow(eps=0.01), weight * sigma / 30), f, k=30).u


def fourth_order(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """Descent of int |Hess u|: u_t = -sum d_i d_j (g d_i d_j u), g(s) = (1 + s/lam^2)^{-1/2}, lam = sigma/2.   (4.6)"""
    return flowed(FourthOrder(Charbonnier(0.5 * sigma)), f, weight)


def curvature(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """u_t = |grad u| div(grad u / |grad u|): level lines shrink by their curvature.   Section 3"""
    return flowed(CurvatureMotion(), f, weight)


# ---- holes ------------------------------------------------------------------------------------------------------


def harmonic(f: Tensor, A: Any, sigma: float, weight: float) -> Tensor:
    """Laplace u = 0 in the hole, u = f elsewhere: the limit of the heat flow.   Section 3"""
    return DiffusionInpainting(A.m).fill(f)


def transport(f: Tensor, A: Any, sigma: float, weight: float) -> Tensor:
    """From there u_t = grad-perp u . grad(Laplace u) in the hole, 10 times 15 steps and 2 of curvature.   [12]"""
    return run(TransportInpainting(A.m), harmonic(f, A, sigma, weight), k=10).u


def navier_stokes(f: Tensor, A: Any, sigma: float, weight: float) -> Tensor:
    """From there 10 steps of the vorticity, nu = 1, image by image.   [12]"""
    return run(NavierStokesInpainting(A.m, nu=1.0), harmonic(f, A, sigma, weight), k=10).u
