"""The same minima from CVXPY, whose interior-point solver shares no line with ours: every model, data term and penalty.

Operators enter as dense matrices, pictures as vectors; the problems are small.
"""

import warnings
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    ADMM,
    FISTA,
    L1,
    PDHG,
    Blur,
    Box,
    ConvergenceWarning,
    FrameletTransform,
    Gradient,
    GroupL1,
    Identity,
    LaplacianNoise,
    LeastSquares,
    LinearOperator,
    Mask,
    PoissonNoise,
    Problem,
    analysis,
    balanced,
    bspline,
    data_term,
    gaussian_kernel,
    synthesis,
    tikhonov,
)
from tests.laws.registry import dense, some

SHAPE = (6, 7)
HAAR = FrameletTransform(bspline(1))
MEASUREMENTS: dict[str, LinearOperator] = {
    "denoising": Identity(),
    "inpainting": Mask(some(*SHAPE)),
    "deblurring": Blur(gaussian_kernel(0.5, 2, 1)),
}
measured = pytest.mark.parametrize("name", MEASUREMENTS)


def picture() -> Tensor:
    u = torch.full(SHAPE, 0.2, dtype=torch.float64)
    u[2:5, 1:4] = 1.0
    return u


def noisy(A: LinearOperator) -> Tensor:
    return A(picture() + 0.1 * torch.randn(*SHAPE, dtype=torch.float64))


def matrix(A: LinearOperator) -> np.ndarray:
    return dense(A, SHAPE).numpy()


def minimum(objective: Any, x: cp.Variable) -> tuple[float, np.ndarray]:
    value = cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_gap_abs=1e-10)
    return float(value), x.value


def agrees(
    problem: Problem, theirs: tuple[float, np.ndarray], method: type, k: int = 1500, unique: bool = True, **options: Any
) -> None:
    """Our objective is CVXPY's to 1e-6, relative; the unknowns to 0.005 where the minimiser is unique."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        end = problem.solve(method, k=k, tol=1e-9, **options)
    assert end.curves["objective"][-1].item() == pytest.approx(theirs[0], rel=1e-6)
    if unique:
        x = end.x if isinstance(end.x, Tensor) else end.x[0]
        np.testing.assert_allclose(x.numpy().ravel(), theirs[1], rtol=0, atol=5e-3)


@measured
@pytest.mark.paper("(2.5)")
def test_analysis(name: str) -> None:
    A, lam = MEASUREMENTS[name], HAAR.weights(0.2)
    f = noisy(A)
    x = cp.Variable(42)
    weights = lam.expand(4, *SHAPE).flatten().numpy()
    fit = cp.sum_squares(matrix(A) @ x - f.numpy().ravel()) / 2
    theirs = minimum(fit + cp.norm1(cp.multiply(weights, matrix(HAAR) @ x)), x)
    problem = analysis(A, f, HAAR, lam)
    agrees(problem, theirs, ADMM, rho=2.0)
    agrees(problem, theirs, PDHG, ratio=0.5)


@measured
@pytest.mark.paper("(2.4)", "(2.6)")
@pytest.mark.parametrize("kappa", [0.0, 2.0])
def test_balanced_and_synthesis(name: str, kappa: float) -> None:
    A, lam = MEASUREMENTS[name], HAAR.weights(0.2) + (0.02 if kappa else 0.1)
    f = noisy(A)
    W, weights = matrix(HAAR), lam.expand(4, *SHAPE).flatten().numpy()
    d = cp.Variable(W.shape[0])
    fit = cp.sum_squares(matrix(A) @ (W.T @ d) - f.numpy().ravel()) / 2
    away = cp.sum_squares(d - W @ (W.T @ d)) / 2
    theirs = minimum(fit + kappa * away + cp.norm1(cp.multiply(weights, d)), d)
    problem = balanced(A, f, HAAR, lam, kappa) if kappa else synthesis(A, f, HAAR, lam)
    agrees(problem, theirs, FISTA, unique=kappa > 0, restart=True)
    if kappa:
        agrees(problem, theirs, ADMM)
        agrees(problem, theirs, PDHG)


@measured
def test_tikhonov(name: str) -> None:
    A = MEASUREMENTS[name]
    f = noisy(A)
    x = cp.Variable(42)
    fit = cp.sum_squares(matrix(A) @ x - f.numpy().ravel()) / 2
    value, u = minimum(fit + 0.15 * cp.sum_squares(matrix(Gradient()) @ x), x)
    problem = tikhonov(A, f, 0.3, Gradient())
    ours = problem.minimiser()
    assert problem(ours).item() == pytest.approx(value, rel=1e-8)
    np.testing.assert_allclose(ours.numpy().ravel(), u, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["denoising", "deblurring"])
def test_total_variation(name: str) -> None:
    """The isotropic norm of the gradient, by a second-order cone."""
    A = MEASUREMENTS[name]
    f = noisy(A)
    x = cp.Variable(42)
    D = matrix(Gradient())
    fit = cp.sum_squares(matrix(A) @ x - f.numpy().ravel()) / 2
    theirs = minimum(fit + 0.1 * cp.sum(cp.norm(cp.vstack([D[:42] @ x, D[42:] @ x]), 2, axis=0)), x)
    agrees(Problem(LeastSquares(f, A), GroupL1(0.1), Gradient()), theirs, PDHG, ratio=0.5)


@pytest.mark.parametrize("name", ["denoising", "deblurring"])
@pytest.mark.paper("(1.1)")
def test_counts(name: str) -> None:
    """Poisson's likelihood, with an empty pixel where nothing is blurred, by the exponential cone."""
    A, noise = MEASUREMENTS[name], PoissonNoise(20.0)
    f = noise(A(picture())).clamp_min(0.05)
    f[0, 0] *= name == "deblurring"
    x = cp.Variable(42, nonneg=True)
    Ax, g = matrix(A) @ x, f.numpy().ravel()
    seen = g > 0
    fit = cp.sum(Ax) - g[seen] @ cp.log(Ax[seen]) + float(g[seen] @ np.log(g[seen]) - g.sum())
    weights = HAAR.weights(1.0).expand(4, *SHAPE).flatten().numpy()
    theirs = minimum(20 * fit + cp.norm1(cp.multiply(weights, matrix(HAAR) @ x)), x)
    problem = Problem(data_term(noise, f, A if name == "deblurring" else None), L1(HAAR.weights(1.0)), HAAR)
    agrees(problem, theirs, PDHG, ratio=0.05)
    if name == "denoising":
        agrees(problem, theirs, ADMM, rho=20.0)


@pytest.mark.parametrize("name", ["denoising", "inpainting", "deblurring"])
@pytest.mark.paper("(1.1)")
def test_outliers(name: str) -> None:
    """|A u - f|_1 / b: two terms that are not smooth."""
    A, noise = MEASUREMENTS[name], LaplacianNoise(0.2)
    f = A.restrict(noise(A(picture())))
    x = cp.Variable(42)
    weights = HAAR.weights(1.5).expand(4, *SHAPE).flatten().numpy()
    fit = cp.norm1(matrix(A) @ x - f.numpy().ravel()) / 0.2
    theirs = minimum(fit + cp.norm1(cp.multiply(weights, matrix(HAAR) @ x)), x)
    agrees(Problem(data_term(noise, f, A), L1(HAAR.weights(1.5)), HAAR), theirs, PDHG, k=4000, unique=False, ratio=0.1)


def test_bounds() -> None:
    """1/2 |A u - f|^2 with 0.2 <= u <= 0.7."""
    A = MEASUREMENTS["deblurring"]
    f = noisy(A)
    x = cp.Variable(42)
    fit = cp.sum_squares(matrix(A) @ x - f.numpy().ravel()) / 2
    problem = cp.Problem(cp.Minimize(fit), [x >= 0.2, x <= 0.7])
    problem.solve(solver=cp.CLARABEL)
    agrees(Problem(LeastSquares(f, A), Box(0.2, 0.7)), (problem.value, x.value), FISTA, restart=True)
