"""The fused loops of W, W^T and W~^T S(W u): equal to the readable forms, in values and derivatives, wherever taken."""

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from companion import (
    Firm,
    FrameletTransform,
    Garrote,
    Hard,
    IsotropicSoft,
    LearnedFrame,
    Shrinkage,
    Soft,
    biorthogonal,
    bspline,
    kernels,
    run,
)
from companion.kernels.frames import analysis, cascade, synthesis
from companion.kernels.rows import STREAM, streamed
from companion.operators.filters import Filter
from tests.laws import test_operators as laws
from tests.laws.registry import OPERATORS, simplex_bank

pytestmark = pytest.mark.skipif(not kernels.available(), reason="numba is not installed")

ROUNDING = {torch.float64: 1e-13, torch.float32: 2e-6}
FAR = Filter([0.5, 0.5], 0), Filter([0.5, -0.5], 41)  # tight, one filter far from the other
FRAMES = [example for example in OPERATORS if example.name.startswith("frame-") and "nonsep" not in example.name]


def distance(a: Tensor, b: Tensor) -> float:
    """|a - b| relative to |b|."""
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b).clamp_min(1e-300))


def both(f: Callable[[], Any]) -> tuple[Any, Any]:
    """f() by the readable form, and by the loops."""
    with kernels.use(False):
        readable = f()
    with kernels.use(True):
        return readable, f()


# ---- W and W^T ------------------------------------------------------------------------------------------------------


def transforms() -> Iterator[tuple[FrameletTransform, tuple[int, ...]]]:
    """Every order, level, dimension and boundary, on the smallest picture and on one that is odd and oblong."""
    for dim, orders, levels in ((1, (1, 2, 3, 4), (1, 2, 4)), (2, (1, 2, 3, 4), (1, 2, 3)), (3, (1, 2, 3), (1, 2))):
        for order in orders:
            for L in levels:
                n = max(order, 2) * 2 ** (L - 1) + 1
                for boundary in ("periodic", "reflect")[: 2 - order % 2]:
                    yield FrameletTransform(bspline(order), L, dim, boundary), (n, n + 1, n + 2)[3 - dim :]
    yield FrameletTransform(bspline(1), 1, 2), (67, 131)  # more than one block of a row
    yield FrameletTransform(bspline(2), 2, 2, "reflect"), (33, 300)  # ... and rows that the adjoint does not copy
    yield FrameletTransform(bspline(4), 1, 2, "reflect"), (7, 263)
    yield FrameletTransform(bspline(3), 1, 2), (6, 260)
    for dim in (1, 2, 3):  # filters that stand further apart than the picture is long
        for levels in (1, 2):
            yield FrameletTransform(FAR, levels, dim), (4, 5, 6)[3 - dim :]
    yield FrameletTransform(FAR, 1, 3), (3, 3, 3)


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize(("W", "shape"), [*transforms()], ids=str)
def test_the_loops_are_the_cascade(W: FrameletTransform, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for batch in ((), (3,), (2, 2)):
        u = torch.randn(*batch, *shape, dtype=dtype)
        d = torch.randn(*batch, len(W.bands), *shape, dtype=dtype)
        for readable, fused in (both(lambda: W(u)), both(lambda: W.T(d))):  # noqa: B023
            assert distance(fused, readable) < ROUNDING[dtype]


@pytest.mark.parametrize("law", [f for n, f in vars(laws).items() if n.startswith("test_")], ids=lambda f: f.__name__)
def test_the_laws_hold_for_the_loops(law: Callable[..., None]) -> None:
    if [*inspect.signature(law).parameters] != ["example"] or law is laws.test_buffers_may_become_parameters:
        pytest.skip("no law of a single operator by the loops: with parameters the readable form is taken")
    for example in FRAMES:
        torch.manual_seed(0)
        with kernels.use(True):
            law(example)


def test_the_readable_form_is_not_run_where_a_loop_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise RuntimeError("the readable form")

    monkeypatch.setattr(FrameletTransform, "_split", refuse)
    monkeypatch.setattr(FrameletTransform, "_merge", refuse)
    W, large, small = FrameletTransform(bspline(2)), torch.rand(512, 512), torch.rand(20, 20)
    W.T(W(large))
    with kernels.use(True):
        W.T(W(small))
    for kept in (lambda: W(small), lambda: W.T(torch.rand(9, 20, 20))):
        with pytest.raises(RuntimeError, match="the readable form"):
            kept()
    with kernels.use(False), pytest.raises(RuntimeError, match="the readable form"):
        W(large)


def test_what_a_loop_does_not_cover_keeps_the_readable_form() -> None:
    u = torch.rand(20, 20)
    W = FrameletTransform(bspline(2))
    moved = FrameletTransform(bspline(2), boundary="reflect")
    moved.q1 = moved.q1.clone() + torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64)  # no parity any more
    learned = FrameletTransform(bspline(2))
    learned.q1 = nn.Parameter(learned.q1)
    with kernels.use(True):
        assert cascade(W, u) is not None
        assert cascade(W, u.half()) is None
        assert cascade(W, u.to("meta")) is None
        assert cascade(moved, u) is None
        assert cascade(learned, u) is None
        assert cascade(FrameletTransform(simplex_bank(2)), u) is None
        assert torch.func.jvp(lambda v: W(v).square(), (u,), (u,))[1].allclose(2 * W(u).square())
        assert learned(u).requires_grad
        assert LearnedFrame(W)(u).requires_grad


def test_learned_taps_that_are_no_longer_learned_are_the_ones_used() -> None:
    W = FrameletTransform(bspline(2))
    W.q1 = nn.Parameter(W.q1 + 0.25, requires_grad=False)  # its zero in the middle is gone
    u = torch.rand(9, 8, dtype=torch.float64)
    with kernels.use(True):
        assert cascade(W, u) is not None
        fused = W(u)
    assert fused[W.band((1, 0))].sub(FrameletTransform(bspline(2))(u)[W.band((1, 0))]).abs().min() > 0.01


def test_any_layout_in_memory() -> None:
    W = FrameletTransform(bspline(2), levels=2)
    u = torch.randn(6, 12, 11, dtype=torch.float64)
    for v in (u.transpose(1, 2), u[:, ::2, 1:], u[::2], u[:1].expand(4, 12, 11), u.flip(0), u[:0]):
        for readable, fused in (both(lambda: W(v)), both(lambda: W.T(W(v).mT.mT * 2))):  # noqa: B023
            assert distance(fused, readable) < 1e-13
            assert fused.is_contiguous()


def test_threads_do_not_change_a_number() -> None:
    u = torch.rand(2, 70, 65)
    S = {W: Shrinkage(W, Soft(W.weights(0.1))) for W in (FrameletTransform(bspline(o), 3) for o in (1, 2))}
    threads = torch.get_num_threads()
    with kernels.use(True):
        for W, step in S.items():
            one = W(u), W.T(W(u)), step(u)
            try:
                torch.set_num_threads(3)
                several = W(u), W.T(W(u)), step(u)
            finally:
                torch.set_num_threads(threads)
            assert all(map(torch.equal, one, several))


def test_large_results_pass_by_the_cache_unchanged() -> None:
    """With rows that start on a multiple of 64 bytes, and with rows that do not."""
    W = FrameletTransform(bspline(1))
    for n, large, picture in ((1088, True, False), (1087, False, False), (2064, True, True)):
        u = torch.rand(n, n)
        for once, twice in (both(lambda: W(u)), both(lambda: W.T(torch.stack([u] * 4)))):  # noqa: B023
            assert distance(twice, once) < 1e-6
        assert (streamed(W(u), STREAM), streamed(W.T(W(u)))) == (large, picture)


# ---- derivatives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
def test_the_derivative_is_that_of_finite_differences(boundary: str) -> None:
    W, u = FrameletTransform(bspline(2), 2, 2, boundary), torch.rand(2, 6, 5, dtype=torch.float64, requires_grad=True)
    d = torch.rand(2, 17, 6, 5, dtype=torch.float64, requires_grad=True)
    with kernels.use(True):
        assert "framelets" in W(u).grad_fn.name()
        assert torch.autograd.gradcheck(W, (u,))
        assert torch.autograd.gradcheck(W.T, (d,))
        assert torch.autograd.gradgradcheck(lambda v: W(v).sin(), (u,), fast_mode=True)


def test_derivatives_of_the_loops() -> None:
    W = FrameletTransform(bspline(2), 2, 2, "reflect")
    u = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)

    def energy(v: Tensor) -> Tensor:
        return W(v).pow(3).sum()

    def derivatives() -> tuple[Tensor, ...]:
        (g,) = torch.autograd.grad(energy(u), u, create_graph=True)
        (h,) = torch.autograd.grad(g.square().sum(), u)
        f = torch.func.grad(energy)(u.detach())
        H = torch.autograd.functional.hessian(energy, u.detach())
        return g.detach(), h, f, H

    for readable, fused in zip(*both(derivatives), strict=True):
        assert distance(fused, readable) < 1e-12


def test_many_gradients_at_once() -> None:
    """Batches of autograd, of functional.jacobian and of torch.func: J = W, whatever makes it."""
    W, u = FrameletTransform(bspline(2), 2, 1), torch.randn(9, dtype=torch.float64)
    expected = torch.stack([both(lambda: W(e))[0] for e in torch.eye(9, dtype=torch.float64)], -1)  # noqa: B023
    d = torch.randn(3, *expected.shape[:-1], dtype=torch.float64)
    with kernels.use(True):
        v = u.clone().requires_grad_()
        (g,) = torch.autograd.grad(W(v), v, d, is_grads_batched=True)
        assert distance(g, torch.einsum("mbi,bij->mj", d, expected)) < 1e-13
        assert distance(torch.autograd.functional.jacobian(W, u, vectorize=True), expected) < 1e-13
        assert distance(torch.func.jacrev(W)(u), expected) < 1e-13
        assert distance(torch.autograd.functional.jacobian(W.T, W(u), vectorize=True), expected.movedim(-1, 0)) < 1e-13


def test_the_ops_keep_the_rules_of_torch() -> None:
    W = FrameletTransform(bspline(1), 2)
    u = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    with kernels.use(True):
        form = cascade(W, u)
        assert form is not None
        torch.library.opcheck(torch.ops.companion.framelets.default, (u, *form))
        torch.library.opcheck(torch.ops.companion.framelets_adjoint.default, (W(u).detach().requires_grad_(), *form))


def test_nan_in_a_band_is_told_of_the_coefficients() -> None:
    """W^T d is looked at, not d: no NaN or infinity of d may be lost on the way there, and none may be invented."""
    for W in (FrameletTransform(bspline(1), 2), FrameletTransform(bspline(4), 1, 2, "reflect")):
        d = torch.randn(len(W.bands), 9, 10)
        for bad in (torch.nan, torch.inf, -torch.inf):
            for m in range(len(W.bands)):
                e = d.clone()
                e[m, m % 9, 3] = bad
                with kernels.use(True), pytest.raises(ValueError, match="d must be finite; 1 of its"):
                    W.T(e)
        with kernels.use(True):
            assert not W.T(d * 0 + 1e38).isnan().any()


def test_coefficients_at_an_odd_address() -> None:
    W = FrameletTransform(bspline(2), 2)
    d = torch.randn(17, 9, 8)
    odd = torch.frombuffer(bytearray(b"   " + d.numpy().tobytes()), dtype=torch.float32, offset=3).reshape(d.shape)
    with kernels.use(True):
        assert distance(W.T(odd), W.T(d)) == 0
        assert distance(W(odd[0]), W(d[0])) == 0


def test_a_batch_by_vmap() -> None:
    W, d = FrameletTransform(bspline(2)), torch.randn(4, 9, 6, 5, dtype=torch.float64)
    with kernels.use(True):
        form = cascade(W, d[0, 0])
        assert form is not None
        assert torch.equal(torch.vmap(lambda x: synthesis(x, form))(d), W.T(d))
        assert torch.equal(torch.vmap(lambda x: analysis(x, form), in_dims=2)(d.movedim(0, 2)), W(d))


# ---- W~^T S(W u) ----------------------------------------------------------------------------------------------------


def centred() -> tuple[tuple[Filter, ...], tuple[Filter, ...]]:
    """A dual pair of symmetric filters about 0."""
    (p, q), (P, Q) = biorthogonal(2, 2)
    return (p, Filter(q.taps, q.origin[0] - 1)), (P, Filter(Q.taps, Q.origin[0] - 1))


def shrinkages() -> Iterator[Shrinkage]:
    bank, dual = centred()
    frames = [FrameletTransform(bspline(o), L, d) for o in (1, 2, 3, 4) for L in (1, 2) for d in (1, 2)]
    frames += [FrameletTransform(bspline(o), L, d, "reflect") for o in (2, 4) for L in (1, 3) for d in (1, 2)]
    frames += [FrameletTransform(bank, L, 2, boundary, dual) for L in (1, 2) for boundary in ("periodic", "reflect")]
    for W in frames:
        lam = W.weights(0.3 * W.gains, 0.5)
        levels = torch.linspace(0.2, 0.0, W.levels).reshape(-1, *[1] * (W.dim + 1))
        for S in (Soft(lam), Hard(lam), Garrote(lam), Firm(lam, 2 * lam), IsotropicSoft(levels, W)):
            yield Shrinkage(W, S)
    for o, L, boundary in (
        (1, 1, "periodic"),
        (1, 2, "periodic"),
        (2, 1, "reflect"),
        (2, 2, "reflect"),
        (3, 1, "periodic"),
    ):
        W = FrameletTransform(bspline(o), L, 3, boundary)
        lam = W.weights(0.3 * W.gains, 0.5)
        for S in (Soft(lam), Hard(lam), Garrote(lam), Firm(lam, 2 * lam)):
            yield Shrinkage(W, S)
    for d in (2, 3):
        for L in (1, 2):
            W = FrameletTransform(FAR, L, d)
            yield Shrinkage(W, Soft(W.weights(0.3)))
    W = FrameletTransform(bspline(2), 2)
    lam = W.weights(0.2).clone()
    lam[0], lam[3] = 0.4, 0.0  # the average, too, and one band left alone
    yield Shrinkage(W, Soft(lam))
    yield Shrinkage(W, Soft(0.0))
    yield Shrinkage(W, Firm(W.weights(0.1), 0.7))
    yield Shrinkage(W, IsotropicSoft(0.3, W))


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("step", [*shrinkages()], ids=lambda step: f"{step.W}-{type(step.S).__name__}")
def test_one_pass_is_the_composition(step: Shrinkage, dtype: torch.dtype) -> None:
    d = step.W.dim
    for shape in ((5, 6, 7), (2, 7, 5, 18), (2, 2, 5, 9, 8)) if d == 3 else ((17, 18), (3, 24, 17), (2, 3, 17, 70)):
        u = torch.randn(shape, dtype=dtype)
        readable, fused = both(lambda: step(u))  # noqa: B023
        assert distance(fused, readable) < 10 * ROUNDING[dtype]
        if d == 2:
            readable, fused = both(lambda: step(u.mT))  # noqa: B023
            assert distance(fused, readable) < 10 * ROUNDING[dtype]


def test_the_bands_are_not_made_where_nobody_asks_for_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    W, u = FrameletTransform(bspline(2), 2), torch.rand(16, 15, dtype=torch.float64)
    step = Shrinkage(W, Soft(W.weights(0.1)))
    expected = step(u)
    forward = FrameletTransform.forward

    def refuse(*args: Any) -> None:
        raise RuntimeError("the bands")

    monkeypatch.setattr(FrameletTransform, "forward", refuse)
    with kernels.use(True):
        assert distance(step(u), expected) < 1e-13
        with torch.no_grad():
            assert distance(step(u.clone().requires_grad_()), expected) < 1e-13
        with pytest.raises(RuntimeError, match="the bands"):
            step(u.clone().requires_grad_())
        with pytest.raises(RuntimeError, match="the bands"):
            torch.func.grad(lambda v: step(v).sum())(u)
        learned = Soft(W.weights(0.1))
        learned.lam = nn.Parameter(learned.lam)
        with pytest.raises(RuntimeError, match="the bands"):
            Shrinkage(W, learned)(u)
        with torch.no_grad():
            assert distance(Shrinkage(W, learned)(u), expected) < 1e-13
    monkeypatch.setattr(FrameletTransform, "forward", forward)


def test_a_subclass_shrinks_in_its_own_way() -> None:
    class Twice(Soft):
        def forward(self, d: Tensor) -> Tensor:
            return super().forward(super().forward(d))

    W, u = FrameletTransform(bspline(1)), torch.randn(8, 8, dtype=torch.float64)
    with kernels.use(True):
        assert distance(Shrinkage(W, Twice(W.weights(0.1)))(u), Shrinkage(W, Soft(W.weights(0.2)))(u)) < 1e-13


def test_bad_thresholds_are_refused_as_ever() -> None:
    W, u = FrameletTransform(bspline(1), 2), torch.randn(8, 8)
    with kernels.use(True):
        with pytest.raises(ValueError, match="weights of the same transform"):
            Shrinkage(W, Soft(FrameletTransform(bspline(2)).weights(0.1)))(u)
        with pytest.raises(ValueError, match="finite"):
            Shrinkage(W, Soft(W.weights(0.1)))(u / 0)
        with pytest.raises(ValueError, match="dilated filters"):
            Shrinkage(W, Soft(W.weights(0.1)))(u[:2])


def test_sixty_steps() -> None:
    W = FrameletTransform(bspline(2), 2, boundary="reflect")
    u = torch.randn(2, 40, 41, dtype=torch.float64)
    readable, fused = both(lambda: run(Shrinkage(W, Garrote(W.weights(0.05))), u, k=60).u)
    assert distance(fused, readable) < 1e-11


# ---- without numba --------------------------------------------------------------------------------------------------


def test_without_numba_the_readable_form_is_taken() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch\nfrom companion import *\nfrom companion import kernels\n"
        "W = FrameletTransform(bspline(1)); u = torch.rand(200, 200)\n"
        "with kernels.use(True):\n"
        "    print(kernels.available(), kernels.taken(u), float((W.T(W(u)) - u).abs().max()) < 1e-6)\n"
        "    print(Shrinkage(W, Soft(W.weights(0.1)))(u).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False True\ntorch.Size([200, 200])\n"


def test_a_kept_loop_is_as_old_as_what_it_calls(tmp_path: Path) -> None:
    """numba keeps split.py's loop with a copy of rows.py's inside: a new rows.py makes both anew."""
    shutil.copytree(
        Path(kernels.__file__).parents[1], tmp_path / "companion", ignore=shutil.ignore_patterns("__pycache__")
    )
    code = (
        "import torch\nfrom companion import *\nfrom companion import kernels\n"
        "with kernels.use(True):\n    print(float(FrameletTransform(bspline(1))(torch.ones(8, 8))[0].mean()))\n"
    )

    def answer() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    env = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    assert answer() == 1
    rows = tmp_path / "companion" / "kernels" / "rows.py"
    text = rows.read_text()
    assert "o[j] = qa * x[a + j] + qb * x[b + j]\n" in text
    rows.write_text(text.replace("o[j] = qa * x[a + j] + qb * x[b + j]\n", "o[j] = qa * x[a + j]\n"))
    assert answer() == 0.25
