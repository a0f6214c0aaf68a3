"""Total variation from other people's code: CVXPY's interior-point solver, Chambolle's iteration in scikit-image."""

from itertools import pairwise

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from companion import (
    FISTA,
    PDHG,
    ROF,
    Blur,
    Gradient,
    LinearOperator,
    Mask,
    SplitBregman,
    haar_gradient,
    rof_dual,
    run,
    spline_gradient,
    tv,
)
from tests.laws.registry import dense, some

N = 32


def picture(n: int = N) -> Tensor:
    """A disc, a ramp and noise, grey values about [0, 1]."""
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5
    u = 0.2 + 0.3 * x.expand(n, n) + 0.6 * (x[:, None].square() + x.square() < 0.1).double()
    return u + 0.1 * torch.randn(n, n, dtype=torch.float64)


# ---- CVXPY ------------------------------------------------------------------------------------------------------


def components(kind: str, n: int) -> list[sp.csr_matrix]:
    """The gradients again, as sparse matrices written from their formulas; h = 1, the border not crossed."""
    plus = sp.diags([[-1.0] * (n - 1) + [0.0], [1.0] * (n - 1)], [0, 1])
    same = sp.identity(n)
    if kind == "differences":
        return [sp.kron(plus, same).tocsr(), sp.kron(same, plus).tocsr()]
    if kind == "haar":  # in the last row and column there is no cell
        mean = sp.diags([[0.5] * (n - 1) + [0.0], [0.5] * (n - 1)], [0, 1])
        return [sp.kron(plus, mean).tocsr(), sp.kron(mean, plus).tocsr()]
    shift = sp.diags([1.0] * (n - 1), 1)
    first, last = (sp.csr_matrix(([1.0], ([i], [i])), (n, n)) for i in (0, n - 1))
    up, down = shift + last, shift.T + first  # u[n + 1] and u[n - 1], the border repeated
    central, smooth = (up - down) / 2, (up + 2 * same + down) / 4
    return [sp.kron(central, smooth).tocsr(), sp.kron(smooth, central).tocsr()]


GRADIENTS = {"differences": Gradient, "haar": haar_gradient, "spline": spline_gradient}


def minimum(A: sp.spmatrix, f: np.ndarray, nu: float, parts: list, isotropic: bool) -> tuple[float, np.ndarray]:
    """min nu sum |grad u| + 1/2 |A u - f|^2, as a second-order cone or a quadratic program."""
    u = cp.Variable(A.shape[1])
    p = cp.vstack([D @ u for D in parts])
    length = cp.sum(cp.norm(p, 2, axis=0)) if isotropic else cp.sum(cp.abs(p))
    value = cp.Problem(cp.Minimize(nu * length + cp.sum_squares(A @ u - f) / 2)).solve(solver=cp.CLARABEL)
    return float(value), u.value.reshape(int(np.sqrt(A.shape[1])), -1)


@pytest.mark.paper("(3.2)")
@pytest.mark.parametrize("isotropic", [True, False], ids=["isotropic", "entrywise"])
@pytest.mark.parametrize("kind", GRADIENTS)
def test_denoising(kind: str, isotropic: bool) -> None:
    """32 x 32: minimum and minimiser within what our duality gap allows."""
    f, nu = picture(), 0.15
    value, theirs = minimum(sp.identity(N * N), f.numpy().ravel(), nu, components(kind, N), isotropic)
    problem = rof_dual(ROF(f, nu, GRADIENTS[kind](), isotropic))
    with torch.no_grad():
        end = run(FISTA(problem, restart=True), f, k=300)
    gap = float(problem.gap(end.x.x))
    assert gap < 2e-4 * value
    assert -1e-6 * value < float(problem.rof(end.u)) - value < gap + 1e-6 * value
    assert np.linalg.norm(end.u.numpy() - theirs) < np.sqrt(2 * gap) + 1e-3


MEASUREMENTS: dict[str, LinearOperator] = {
    "inpainting": Mask(some(16, 16)),
    "deblurring": Blur(torch.tensor([[0.0, 1, 0], [1, 2, 1], [0, 1, 0]], dtype=torch.float64) / 6, "reflect"),
}


@pytest.mark.paper("(3.2)")
@pytest.mark.parametrize("isotropic", [True, False], ids=["isotropic", "entrywise"])
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_with_a_measurement(name: str, isotropic: bool) -> None:
    """16 x 16: the minimum to 1e-3 by PDHG and by split Bregman, never below CVXPY's."""
    A, nu = MEASUREMENTS[name], 0.1
    f = A(picture(16))
    matrix = sp.csr_matrix(dense(A, (16, 16)).numpy())
    value, _ = minimum(matrix, f.numpy().ravel(), nu, components("differences", 16), isotropic)
    problem = tv(A, f, nu, None, isotropic)
    with torch.no_grad():
        for step, k in ((PDHG(problem, dualise=name == "deblurring"), 400), (SplitBregman(problem, 1.0, 1e-5), 100)):
            assert -1e-6 < float(problem(run(step, f, k=k).x)) / value - 1 < 1e-3


@pytest.mark.paper("(3.2)")
def test_the_step_of_the_grid_is_a_change_of_weight() -> None:
    """With h = 1/N the weight nu h stands in CVXPY's problem of pixels, and h^2 before all."""
    n, nu = 16, 0.01
    f, h = picture(n), 1 / n
    value, theirs = minimum(sp.identity(n * n), f.numpy().ravel(), nu / h, components("haar", n), True)
    problem = ROF(f, nu, haar_gradient(h))
    assert float(problem(torch.from_numpy(theirs))) == pytest.approx(h**2 * value, rel=1e-6)
    with torch.no_grad():
        u = run(PDHG(problem), f, k=200).u
    assert float(problem(u)) == pytest.approx(h**2 * value, rel=1e-4)


# ---- scikit-image -----------------------------------------------------------------------------------------------


@pytest.mark.paper("(3.2)")
@pytest.mark.parametrize("nu", [0.05, 0.2])
def test_chambolles_iteration(nu: float) -> None:
    """denoise_tv_chambolle(f, weight=nu): the same forward differences and the same objective as ROF(f, nu), h = 1.

    It is a projection method of 2004 for the dual, with a step of 1/4, and stops when its energy changes by less than
    eps, relative: by default long before the minimum, 2 % above it here for nu = 0.2. In 2,000 steps it comes to it.
    """
    f = picture()
    problem = ROF(f, nu)
    with torch.no_grad():
        end = run(FISTA(rof_dual(problem), restart=True), f, k=400)
    least, gap = float(problem(end.u)), float(problem.gap(end.u, end.x.x))
    above, away = [], []
    for eps, k in ((2e-4, 200), (0.0, 200), (0.0, 2000)):
        theirs = torch.from_numpy(denoise_tv_chambolle(f.numpy(), weight=nu, eps=eps, max_num_iter=k))
        above.append((float(problem(theirs)) - least) / least)
        away.append(float(torch.dist(theirs, end.u)) / N)
    assert above[2] > -gap / least
    assert all(b < a for a, b in pairwise(above))
    assert 1e-3 < above[0] < 0.03 and above[2] < 1e-4
    assert away[2] < 1e-3
