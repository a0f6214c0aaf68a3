"""Minimisers from coarse to fine: certified, the same as from nothing, and faster; the prolongation of a field."""

import time

import pytest
import torch
from torch import Tensor

from companion import (
    PDHG,
    ROF,
    VARIATIONS,
    ConvergenceWarning,
    Disc,
    DiscreteEnergy,
    Gradient,
    refine,
)
from companion.flows.refinement import prolong


def problems(name: str, grids: tuple[int, ...], nu: float = 0.05) -> list[ROF]:
    return [DiscreteEnergy(VARIATIONS[name](nu, 1 / N, "periodic"), Disc().averages(N)).problem for N in grids]


def excess(problem: ROF, u: Tensor, p: Tensor) -> float:
    """The duality gap by its definition: primal value minus dual value h^2/2 (|f|^2 - |f - K^T p / h^2|^2)."""
    h2, f = problem.E.weight, problem.E.f
    dual = h2 / 2 * (f.square().sum() - (f - problem.K.adjoint(p) / h2).square().sum())
    return float(problem(u) - dual)


@pytest.mark.paper("(4.2)")
@pytest.mark.parametrize("name", VARIATIONS)
def test_every_level_is_certified(name: str) -> None:
    """The gap by its definition, and the field within the unit ball of the dual length."""
    chain = problems(name, (16, 32, 64))
    levels = refine(chain, tol=1e-3)
    for problem, level in zip(chain, levels, strict=True):
        size = level.v.norm(dim=0) if problem.J.isotropic else level.v.abs()
        assert float(size.max()) <= 1 + 1e-12
        h = problem.J.D.h
        assert level.gap == pytest.approx(excess(problem, level.u, level.v * 0.05 * h), abs=1e-12)
        assert 0 <= level.gap <= 1e-3 * float(problem(level.u))
        assert level.u.shape == problem.E.f.shape and level.steps % 50 == 0 and level.seconds > 0


def test_the_result_is_the_minimiser_from_nothing() -> None:
    """Against PDHG: two pictures within the sum of the radii that their gaps give, h^2/2 |u - u*|^2 <= gap."""
    chain = problems("Haar, two bands", (16, 32))
    level = refine(chain, tol=1e-5)[-1]
    step = PDHG(chain[-1])
    with torch.no_grad():
        s = step.start(chain[-1].E.f)
        for _ in range(800):
            s = step(s)
    distance = float((s.x - level.u).square().mean().sqrt())
    assert distance <= (2 * level.gap) ** 0.5 + (2 * float(chain[-1].gap(s.x, s.p))) ** 0.5
    assert float(chain[-1](level.u)) == pytest.approx(float(chain[-1](s.x)), rel=2e-5)


def test_the_start_from_a_coarser_grid_saves_steps() -> None:
    chain = problems("forward differences", (16, 32, 64, 128))
    warm = refine(chain, tol=2.5e-4, every=25)[-1]
    cold = refine(chain[-1:], tol=2.5e-4, every=25)[0]
    assert warm.steps < 0.8 * cold.steps


@pytest.mark.paper("(4.2)")
def test_a_minimiser_at_256_takes_seconds() -> None:
    """N = 32, ..., 256, the disc of the course, entrywise Haar, the fastest: the others take up to five times as long.

    The bound is 10 s on one free core; the measured time is processor time.
    """
    begin = time.process_time()
    level = refine(problems("Haar, entrywise", (32, 64, 128, 256)), tol=2.5e-4)[-1]
    assert time.process_time() - begin < 10
    assert level.gap < 1.7e-5


def test_a_level_that_does_not_converge_says_so() -> None:
    with pytest.warns(ConvergenceWarning, match="After 30 steps"):
        levels = refine(problems("forward differences", (16, 32)), tol=1e-9, k=30)
    assert [level.steps for level in levels] == [30, 30]


def test_one_dimension_and_a_mirrored_border() -> None:
    """A step on [0, 1]: u = nu/s before, 1 - nu/(1 - s) beyond the point s."""
    nu, s = 0.1, 0.25
    chain = []
    for n in (8, 16, 64):
        x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        chain.append(ROF((x > s).double(), nu, Gradient(1 / n, 1)))
    u = refine(chain, tol=1e-7)[-1].u
    exact = torch.where(chain[-1].E.f > 0, 1 - nu / (1 - s), nu / s).double()
    torch.testing.assert_close(u, exact, rtol=0, atol=1e-3)


def test_the_prolongation_repeats_each_value() -> None:
    v = torch.randn(2, 3, 4)
    fine = prolong(v, (2, 6, 12))
    for i in range(6):
        for j in range(12):
            torch.testing.assert_close(fine[:, i, j], v[:, i // 2, j // 3])
    assert prolong(v, v.shape) is v
    for shape in ((2, 7, 8), (2, 6)):
        with pytest.raises(ValueError, match="multiple"):
            prolong(v, shape)
    with pytest.raises(ValueError, match="at least one problem"):
        refine([])
