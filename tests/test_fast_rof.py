"""FastROF: ROF's minimiser with a gap that is certified, picture by picture; by its loop as by torch."""

import math

import pytest
import torch
from torch import Tensor

from companion import FISTA, PDHG, ROF, Blur, FastROF, Gradient, SplitBregman, haar_gradient, rof_dual, run, tv
from companion.kernels import available, differences, use

BORDERS = pytest.mark.parametrize("boundary", ["reflect", "periodic"])
with_loops = pytest.mark.skipif(not available(), reason="the loops are numba's")
SIZES = {
    1: [(1,), (2,), (3, 7)],
    2: [(1, 1), (2, 1), (1, 2), (5, 6), (2, 3, 7, 4)],
    3: [(2, 3, 4), (1, 1, 5), (2, 5, 1, 3)],
}


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.paper("(3.2)")
@pytest.mark.parametrize("loops", [False, pytest.param(True, marks=with_loops)])
def test_a_step_keeps_its_place_and_loses_height(loops: bool) -> None:
    """f = 1 beyond the point s of [0, 1]: u = nu/s before and 1 - nu/(1 - s) beyond."""
    n, nu, s = 10, 0.1, 0.3
    f = (torch.arange(n) >= n * s).double()
    exact = torch.where(f > 0, 1 - nu / (1 - s), nu / s).double()
    with use(loops):
        u = run(FastROF(f, nu, Gradient(1 / n, 1)), f, k=600).u
    torch.testing.assert_close(u, exact, rtol=0, atol=1e-4)


@with_loops
@BORDERS
@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_loop_is_the_step(boundary: str, isotropic: bool, dtype: torch.dtype, tol: float) -> None:
    """Every size; from the start, and from two fields that are none of a run's."""
    for dim, shapes in SIZES.items():
        for shape in shapes:
            f = random(*shape).to(dtype)
            step = FastROF(f, 0.3, Gradient(0.5, dim, boundary), isotropic)
            s = step.start(f)
            lost = s._replace(p=torch.randn_like(s.p), old=torch.randn_like(s.p), k=s.k + 7)
            for state in (s, lost):
                with use(False):
                    expected = step(step(state))
                with use(True):
                    out = step(step(state))
                torch.testing.assert_close(out.p, expected.p, rtol=0, atol=tol)
                assert out.k == expected.k == state.k + 2
                with use(False):
                    gap, objective = step._measure(state)
                with use(True):
                    fast = step._measure(state)
                slack = 10 * tol * max(1.0, float(objective.max()))
                torch.testing.assert_close(fast[0], gap, rtol=0, atol=slack)
                torch.testing.assert_close(fast[1], objective, rtol=0, atol=slack)


@with_loops
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_rows(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "ALONE", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    f = random(3, 5, 4)
    for boundary in ("reflect", "periodic"):
        step = FastROF(f, 0.3, Gradient(boundary=boundary))
        with use(False):
            expected = run(step, f, k=4).x
        with use(True):
            torch.testing.assert_close(run(step, f, k=4).x.p, expected.p)


@with_loops
@BORDERS
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_loop_of_split_bregman_is_its_step(boundary: str, dtype: torch.dtype, tol: float) -> None:
    """Deblurring; also after the data, which are kept, have changed."""
    blur = Blur(torch.tensor([[0.5, 0.3, 0.2]]).to(dtype))
    for shape in [(1, 3), (5, 6), (2, 3, 7, 4)]:
        f = random(*shape).to(dtype)
        step = SplitBregman(tv(blur, f, 0.1, Gradient(boundary=boundary)))
        for _ in range(2):
            s = step.start(f)._replace(b=torch.randn_like(step.start(f).b))
            with use(False):
                expected = step(step(s))
            with use(True):
                out = step(step(s))
            for ours, readable in zip(out, expected, strict=True):
                torch.testing.assert_close(ours, readable, rtol=0, atol=tol)
            before = step(s).x
            step.problem.E.f.mul_(2)
            assert torch.dist(step(s).x, before) > 0.1


def test_it_is_fista_for_the_dual() -> None:
    """Step by step, for a gradient of the frame too."""
    f = random(6, 7)
    for grad in (Gradient(0.5), haar_gradient(0.5)):
        ours, theirs = (run(m, f, k=12).x for m in (FastROF(f, 0.3, grad), FISTA(rof_dual(ROF(f, 0.3, grad)))))
        torch.testing.assert_close(ours.p, theirs.x)


@pytest.mark.parametrize("loops", [False, pytest.param(True, marks=with_loops)])
def test_it_ends_at_the_minimiser_of_pdhg(loops: bool) -> None:
    """64 x 64: within the distance that the two gaps allow, h^d/2 |u - u*|^2 <= gap."""
    f = (torch.arange(64)[:, None] > torch.arange(64)).double() + 0.1 * random(64, 64)
    problem = ROF(f, 0.2)
    with torch.no_grad(), use(loops):
        end = run(FastROF(f, 0.2), f, k=3000, until=FastROF(f, 0.2).certified(1e-5))
        other = run(PDHG(problem), f, k=500).x
    gaps = float(problem.gap(end.u, end.x.p)), float(problem.gap(other.x, other.p))
    assert end.stopped == "until" and gaps[0] <= 1e-5 * problem(end.u) * 1.001
    assert torch.dist(end.u, other.x) <= sum(math.sqrt(2 * gap) for gap in gaps)
    assert abs(problem(end.u) - problem(other.x)) <= max(gaps)


@pytest.mark.parametrize("isotropic", [True, False])
def test_cvxpy_agrees(isotropic: bool) -> None:
    """8 x 8, on the unit square: an objective found by another program."""
    cp = pytest.importorskip("cvxpy")
    f, nu, h = random(8, 8), 0.05, 1 / 8
    step = FastROF(f, nu, Gradient(h), isotropic)
    u = run(step, f, k=20000, until=step.certified(1e-8)).u
    x = cp.Variable((8, 8))
    down, right = cp.diff(x, axis=0), cp.diff(x, axis=1)
    zeros = (cp.vstack([down, torch.zeros(1, 8).numpy()]), cp.hstack([right, torch.zeros(8, 1).numpy()]))
    rows = cp.vstack([cp.vec(z, order="C") for z in zeros])
    length = cp.sum(cp.norm(rows, 2, axis=0)) if isotropic else cp.sum(cp.abs(rows))
    best = cp.Problem(cp.Minimize(nu * h * length + h**2 / 2 * cp.sum_squares(x - f.numpy()))).solve(solver="CLARABEL")
    assert float(step.problem(u)) == pytest.approx(best, rel=1e-6)


def test_the_gap_is_certified_for_each_picture() -> None:
    """The curve is the gap of ROF, picture by picture; it bounds the excess; the rule waits for the last picture."""
    f = torch.stack([random(7, 8), 5 * random(7, 8)])
    step, nu = FastROF(f, 0.4), 0.4
    watched = run(step, f, k=30, record={"gap": step.gap})
    assert watched.curves["gap"].shape == (31, 2) and watched.curves["gap"].min() >= 0
    for i in range(2):
        problem = ROF(f[i], nu)
        best = float(problem(run(FastROF(f[i], nu), f[i], k=600).u))
        torch.testing.assert_close(watched.curves["gap"][-1, i], problem.gap(watched.u[i], watched.x.p[i]))
        assert 0 <= problem(watched.u[i]) - best <= watched.curves["gap"][-1, i]
    end = run(step, f, until=step.certified(1e-3, every=1))
    apart = [run(s := FastROF(g, nu), g, until=s.certified(1e-3, every=1)) for g in f]
    assert end.k >= max(run.k for run in apart) > min(run.k for run in apart)
    for i, one in enumerate(apart):
        together = run(step, f, k=one.k).u[i]
        torch.testing.assert_close(together, one.u)


def test_units_types_and_bounds() -> None:
    """c f with c nu gives c u; only nu/h counts; float32 stays; |p| <= nu h^{d-1}."""
    f = random(6, 7)
    u = run(FastROF(f, 0.2, Gradient(0.5)), f, k=20).u
    torch.testing.assert_close(run(FastROF(10 * f, 2.0, Gradient(0.5)), f, k=20).u, 10 * u)
    torch.testing.assert_close(run(FastROF(f, 0.4), f, k=20).u, u)
    low = run(FastROF(f.float(), 0.2, Gradient(0.5)), f.float(), k=20)
    assert {x.dtype for x in low.x} == {torch.float32}
    torch.testing.assert_close(low.u, u.float(), rtol=0, atol=1e-5)
    assert low.x.p.norm(dim=0).max() <= 0.2 * 0.5 * (1 + 1e-6)


def test_derivatives_flow_through_the_steps() -> None:
    def denoised(f: Tensor) -> Tensor:
        step = FastROF(f.detach(), 0.3)
        step.problem.E.f = f
        return run(step, f.detach(), k=4).u

    assert torch.autograd.gradcheck(denoised, (random(4, 5).requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize(("tol", "every"), [(0.0, 10), (1e-4, 0)])
def test_a_rule_needs_a_tolerance(tol: float, every: int) -> None:
    with pytest.raises(ValueError, match="certified for tol > 0"):
        FastROF(random(3, 3), 0.3).certified(tol, every)
