"""PDHG's loop is its readable step, for every data term; what it does not know keeps the readable form."""

import pytest
import torch
from torch import Tensor

from companion import L1, PDHG, ROF, Blur, GaussianNoise, Gradient, GroupL1, Mask, TotalVariation, run, tv
from companion.energies.functional import LeastSquares
from companion.energies.models import Problem
from companion.flows import splitting
from companion.kernels import available, differences, use
from companion.operators.measure import Identity
from tests.test_fast_rof import BORDERS, SIZES, random

pytestmark = pytest.mark.skipif(not available(), reason="the loops are numba's")


def anywhere(step: PDHG, f: Tensor) -> splitting.PrimalDual:
    """A state that is none of a run's."""
    return splitting.PrimalDual(*(3 * torch.randn_like(part) for part in step.start(f)))


def taken(step: PDHG, s: splitting.PrimalDual, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which loop the step takes."""
    names: list[str] = []
    for name in ("climb", "step"):
        loop = getattr(splitting, name)
        monkeypatch.setattr(splitting, name, lambda *args, n=name, f=loop: (names.append(n), f(*args))[1])
    with use(True):
        step(s)
    monkeypatch.undo()
    return " ".join(names)


def compare(step: PDHG, s: splitting.PrimalDual, tol: float) -> None:
    """Two steps of the loop are two of the readable form."""
    with use(False):
        expected = step(step(s))
    with use(True):
        out = step(step(s))
    for ours, readable in zip(out, expected, strict=True):
        assert ours.dtype == readable.dtype and ours.is_contiguous()
        torch.testing.assert_close(ours, readable, rtol=0, atol=tol)


@BORDERS
@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_the_loop_is_the_step_of_rof(boundary: str, isotropic: bool, dtype: torch.dtype, tol: float) -> None:
    """Every size; steps h that make w tau small and large."""
    for dim, shapes in SIZES.items():
        for shape in shapes:
            f = random(*shape).to(dtype)
            for h, ratio in ((0.5, None), (0.01, 1e-2), (3.0, 100.0)):
                step = PDHG(ROF(f, 0.3 * h, Gradient(h, dim, boundary), isotropic), ratio=ratio)
                compare(step, anywhere(step, f), tol)


@BORDERS
def test_the_loop_climbs_for_every_data_term(boundary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blur solved by an FFT, the same dualised, a mask, an absolute error, a D with a step of its own."""
    f, K = random(2, 6, 7), Gradient(0.5, boundary=boundary)
    blur = Blur(torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64), boundary="periodic")
    absolute = Problem(L1(2.0, f), TotalVariation(0.3, K).norm, K)
    cases = [
        PDHG(tv(blur, f, 0.1, K)),
        PDHG(tv(blur, f, 0.1, K), dualise=True),
        PDHG(tv(Mask(torch.rand(6, 7).round().double()), f, 0.1, K, isotropic=False)),
        PDHG(absolute),
    ]
    for step in cases:
        s = anywhere(step, f)
        assert taken(step, s, monkeypatch) == "climb"
        compare(step, s, 1e-12)
    own = PDHG(Problem(LeastSquares(f, weight=2.0), TotalVariation(0.3, K).norm, K))
    assert taken(own, own.start(f), monkeypatch) == "step"
    compare(own, anywhere(own, f), 1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3])
@BORDERS
def test_threads_share_the_planes(boundary: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "ALONE", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for dim, shape in ((2, (3, 5, 4)), (3, (2, 4, 3, 5))):
        step = PDHG(ROF(random(*shape), 0.3, Gradient(dim=dim, boundary=boundary)))
        compare(step, anywhere(step, step.problem.E.f), 1e-12)


def test_one_data_for_a_batch_and_another_type() -> None:
    f, many = random(4, 5), random(3, 4, 5)
    step = PDHG(ROF(f, 0.3))
    s = splitting.PrimalDual(many, many + 1, torch.zeros(3, 2, 4, 5, dtype=torch.float64), many.new_zeros(0))
    compare(step, s, 1e-12)
    compare(step, splitting.PrimalDual(*(part.float() for part in s)), 1e-5)


def test_what_the_loop_does_not_know_keeps_the_readable_form(monkeypatch: pytest.MonkeyPatch) -> None:
    f, K = random(6, 7), Gradient()

    def asked(step: PDHG) -> str:
        s = step.start(f)
        with use(True):
            out = step(s)
        with use(False):
            expected = step(s)
        for ours, readable in zip(out, expected, strict=True):
            torch.testing.assert_close(ours, readable)
        return taken(step, s, monkeypatch)

    class Leaning(GroupL1):
        """A length that is cut elsewhere."""

        def prox_conjugate(self, p: Tensor, sigma: float | Tensor) -> Tensor:
            return super().prox_conjugate(p, sigma) / 2

    class Steep(Gradient):
        """Twice the differences."""

        def forward(self, u: Tensor) -> Tensor:
            return 2 * super().forward(u)

        def adjoint(self, p: Tensor) -> Tensor:
            return 2 * super().adjoint(p)

    E = LeastSquares(f)
    assert asked(PDHG(Problem(E, GroupL1(0.3, axis=-3), K))) == "step"
    assert asked(PDHG(Problem(E, L1(0.3), K))) == "step"
    for R in (
        LeastSquares(0.0),
        L1(0.3, 0.1),
        L1(torch.full((2, 1, 1), 0.3)),
        Leaning(0.3, axis=-3),
        GroupL1(0.3, axis=-2),
    ):
        assert asked(PDHG(Problem(E, R, K))) == ""
    assert asked(PDHG(Problem(E, GroupL1(0.3, axis=-3, sizes=(1, 1)), K))) == ""
    assert asked(PDHG(Problem(E, GroupL1(0.3, axis=-3), Steep()))) == ""
    learned = PDHG(ROF(f, 0.3))
    learned.tau.requires_grad_()
    assert asked(learned) == ""
    data = PDHG(ROF(f, 0.3))
    data.problem.E.f.requires_grad_()
    assert asked(data) == "climb"
    for part, left in (("K", ""), ("R", ""), ("E", "climb")):
        watched = PDHG(ROF(f, 0.3))
        getattr(watched.problem, part).register_forward_hook(lambda *args: None)
        assert asked(watched) == left
    shifted = PDHG(ROF(f, 0.3))
    shifted.problem.E.A = Blur(torch.ones(1, 1, dtype=torch.float64))
    assert asked(shifted) == "climb" and type(learned.problem.E.A) is Identity


def test_derivatives_ask_for_the_readable_form() -> None:
    start = random(4, 5)

    def denoised(f: Tensor) -> Tensor:
        step = PDHG(ROF(f.detach(), 0.3), ratio=0.5)
        step.problem.E.f = f
        with use(True):
            return run(step, start, k=4).u

    assert torch.autograd.gradcheck(denoised, (random(4, 5).requires_grad_(),), atol=1e-6)


def test_wrong_data_are_named_by_the_loop_too() -> None:
    step = PDHG(ROF(random(4, 5), 0.3))
    other = random(6, 5)
    s = splitting.PrimalDual(other, other, torch.zeros(2, 6, 5, dtype=torch.float64), other.new_zeros(0))
    with use(True), pytest.raises(ValueError, match="the last axes must"):
        step(s)


def test_old_states_stay_as_they_were() -> None:
    """Memory is used again only when nobody holds it: all states of a run, large enough to be given out anew."""
    f = torch.rand(520, 520)
    step = PDHG(ROF(GaussianNoise(0.1)(f), 0.1))
    states = [step.start(f)]
    for _ in range(4):
        states.append(step(states[-1]))
    copies = [[part.clone() for part in s] for s in states]
    for _ in range(6):
        states[-1] = step(states[-1])
    for s, copy in zip(states[:-1], copies[:-1], strict=True):
        assert all(map(torch.equal, s, copy))
