r"""min E(u) + R(K u), for every A, as lines of the leaderboard: (f, A, sigma, weight) -> u.   (2.4)-(2.6), (3.2)

What is fixed; experiments/choices.py compares it with other numbers, on training photographs:

    W        undecimated linear B-splines, 2 levels (shrinkage in one step: 3); lambda = weight sigma |q_{ell,l}| for
             each band, a multiple of the noise's deviation in it, and 0 on the average (synthesis: a price of 1/20)
    nu       weight sigma, for the total variations; alpha = weight (10 sigma)^2 for Tikhonov
    steps    K = 60 of ADMM or of FISTA with restart, and of SplitBregman, 2 K of PDHG, no rule to stop

Paper: Sections 1-3.  Notebook: 14.
"""

from __future__ import annotations

import torch
from torch import Tensor

from companion import (
    ADMM,
    FISTA,
    PDHG,
    TGV,
    Accelerated,
    AlternatingMinimisation,
    AmbrosioTortorelli,
    ConsistentROF,
    FrameletTransform,
    Gradient,
    Identity,
    Interpolation,
    IsotropicSoft,
    LinearOperator,
    Mask,
    Problem,
    Radon,
    SplitBregman,
    analysis,
    balanced,
    bspline,
    condat_kernels,
    haar_gradient,
    piecewise_smooth,
    run,
    synthesis,
    tikhonov,
    tv,
)
from companion.lab.methods_start import start

LEVELS = 2
K = 60


def first(f: Tensor, A: LinearOperator, sigma: float) -> Tensor:
    """What a solver starts from: A^T f; for the mask the harmonic continuation, for CT Tikhonov's picture, weight 1."""
    if isinstance(A, Radon):
        return smooth(f, A, sigma, 1.0)
    return start(f, A, sigma) if isinstance(A, Mask) else A.adjoint(f)


def solved(problem: Problem, A: LinearOperator, u0: Tensor, times: int = 1) -> Tensor:
    """K steps of ADMM where K is tight, of SplitBregman where A = I; 2 K of PDHG else, and for CT; times a factor."""
    k, tomography = times * K, isinstance(A, Radon)
    if problem.K.tight and not tomography:
        return run(ADMM(problem), u0, k=k).u
    if isinstance(A, Identity) and not isinstance(problem, TGV):
        return run(SplitBregman(problem), u0, k=k).u
    return run(PDHG(problem, dualise=tomography), u0, k=2 * k).u


def frame(levels: int = LEVELS) -> FrameletTransform:
    """The undecimated transform of the linear B-splines, tight."""
    return FrameletTransform(bspline(2), levels)


def prices(W: FrameletTransform, lam: float) -> Tensor:
    """lambda_{ell,l} = lam |q_{ell,l}|, and 0 on the average."""
    return W.weights(lam * W.gains)


def smooth(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """min 1/2 |A u - f|^2 + alpha/2 |grad u|^2, alpha = weight (10 sigma)^2.   Section 1"""
    return tikhonov(A, f, weight * (10 * sigma) ** 2, Gradient()).minimiser(tol=1e-4)


def by_analysis(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """min 1/2 |A u - f|^2 + |lam . W u|_1.   (2.5)"""
    W = frame()
    return solved(analysis(A, f, W, prices(W, weight * sigma)), A, first(f, A, sigma))


def by_balance(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """min 1/2 |A W^T d - f|^2 + kappa/2 |(I - W W^T) d|^2 + |lam . d|_1, kappa = 1.   (2.4)"""
    W = frame()
    problem = balanced(A, f, W, prices(W, weight * sigma), kappa=1.0)
    return run(FISTA(problem, restart=True), first(f, A, sigma), k=K).u


def by_synthesis(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """min 1/2 |A W^T d - f|^2 + |lam . d|_1, the average at 1/20 of the mean price, 2 K steps.   (2.6)"""
    W = frame()
    lam = prices(W, weight * sigma)
    lam[0] = lam[1:].mean() / 20
    problem = synthesis(A, f, W, lam)
    return run(FISTA(problem, restart=True), first(f, A, sigma), k=2 * K).u


def accelerated(f: Tensor, A: LinearOperator, sigma: float, weight: float, share: float | None = None) -> Tensor:
    """(4.7): isotropic shrinkage at an extrapolated picture, then a step mu towards the data.   (4.7)

    mu = share / |A|^2, by default 0.1 if A = I, else 0.9; thresholds mu weight sigma on the finest level, 0.3 of it on
    the next.
    """
    W = frame()
    share = share or (0.1 if isinstance(A, Identity) else 0.9)
    mu = share if isinstance(A, Identity) else share / float(A.norm(A.adjoint(f))) ** 2
    lam = mu * weight * sigma * torch.tensor([1.0, 0.3]).reshape(-1, 1, 1, 1)
    return run(Accelerated(W, IsotropicSoft(lam, W), A, f, mu=mu, restart=True), first(f, A, sigma), k=K).u


def total_variation(f: Tensor, A: LinearOperator, sigma: float, weight: float, times: int = 0) -> Tensor:
    """min nu TV(u) + 1/2 |A u - f|^2, forward differences; for CT twice as many steps, unless `times` says.   (3.2)"""
    return solved(tv(A, f, weight * sigma), A, first(f, A, sigma), times or 1 + isinstance(A, Radon))


def haar_variation(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """The same with the gradient of Haar's filters: diagonal differences, nearer to isotropy.   (3.2), (4.2)"""
    return solved(tv(A, f, weight * sigma, haar_gradient()), A, first(f, A, sigma))


def condat_variation(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """The same with Condat's total variation, for A = I.   (3.2), [31]"""
    return run(PDHG(ConsistentROF(f, weight * sigma, Interpolation(condat_kernels()))), f, k=2 * K).u


def generalised(f: Tensor, A: LinearOperator, sigma: float, weight: float, times: int = 2) -> Tensor:
    """min 1/2 |A u - f|^2 + TGV(u), alpha_1 = weight sigma, alpha_0 = 2 alpha_1.   [18]"""
    return solved(TGV(A, f, weight * sigma, 2 * weight * sigma), A, first(f, A, sigma), times)


def smooth_pieces(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """Squares of W u off the edges, lengths on them; an edge is where the details exceed sigma/2.   [26]

    gamma = weight sigma on the finest level and 0.3 of it on the next, where the edges begin at 0.3 sigma/2.
    """
    W = frame()
    levels = torch.tensor([1.0, 0.3]) * sigma
    gamma = weight * levels
    lam = (gamma / (0.5 * levels)).sqrt()  # an edge: s > gamma / lam^2
    return solved(piecewise_smooth(A, f, W, lam, gamma), A, first(f, A, sigma))


def free_edges(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """Ambrosio and Tortorelli's energy, alpha = weight (10 sigma)^2, eps = 1, 8 alternations.   [115]

    beta = 4 eps alpha s^2: an edge is cheaper than the slope from s = 2 sigma + 0.05 on.
    """
    alpha, slope = weight * (10 * sigma) ** 2, 2 * sigma + 0.05
    E = AmbrosioTortorelli(A, f, alpha, 4 * alpha * slope**2, eps=1.0)
    return run(AlternatingMinimisation(E, tol=1e-3), A.adjoint(f), k=8).u
