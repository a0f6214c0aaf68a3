"""What every scheme obeys: its order, its limit, a StabilityWarning beyond it; implicit ones keep extrema always."""

import functools
import itertools
import math
import warnings
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.optimize
import torch
from torch import Tensor

from companion import (
    RK4,
    SSP3,
    Charbonnier,
    Euler,
    Exponential,
    Field,
    Fractal,
    Gradient,
    Heat,
    Heun,
    Implicit,
    PeronaMalik,
    SemiImplicit,
    StabilityWarning,
    TVFlow,
    haar_gradient,
    run,
    stability_function,
)
from companion.flows.diffusion import Diffusion
from companion.flows.schemes import Scheme
from tests.laws.registry import SCHEMES, SchemeExample, public_subclasses, spike


def names(examples: list[SchemeExample]) -> Callable:
    return pytest.mark.parametrize("example", examples, ids=lambda example: example.name)


every = names(SCHEMES)
explicit = names([e for e in SCHEMES if not e.implicit and not e.apart])
implicit = names([e for e in SCHEMES if e.implicit])


class Decay(Field):
    """u' = -a u, such that every scheme takes it: no conductivity, all reaction. max_dt = 2/a is Euler's bound."""

    def __init__(self, a: float, dim: int = 1):
        super().__init__()
        self.a, self.grad = a, Gradient(dim=dim)

    @property
    def max_dt(self) -> float:
        return 2 / self.a

    def conductivity(self, u: Tensor) -> Tensor:
        return torch.zeros_like(self.grad(u))

    def reaction(self, u: Tensor) -> tuple[float, float]:
        return self.a, 0.0

    def forward(self, u: Tensor) -> Tensor:
        return -self.a * u


def factor(example: SchemeExample, F: Decay, dt: float) -> float:
    """|R(-a dt)|: one step from 1, or the largest eigenvalue of a scheme with a memory."""
    step = example.make(F, dt)
    if hasattr(step, "start"):
        return float(stability_function(example.make)(torch.tensor(-F.a * dt + 0j, dtype=torch.complex128)).abs())
    return float(step(torch.ones(1, dtype=torch.float64)).abs())


def after(step: Scheme, u: Tensor, k: int = 1) -> Tensor:
    """u^k, of a scheme with or without a memory."""
    return run(step, u, k=k).u


def bump(*shape: int) -> Tensor:
    """A smooth picture without symmetry."""
    x = [torch.linspace(0, 1, n, dtype=torch.float64) for n in shape]
    line = torch.sin(2 * x[0]) + x[0] ** 2
    return line if len(shape) == 1 else line[:, None] * torch.exp(-x[1]) + 0.3 * torch.cos(3 * x[1] + x[0][:, None])


def test_every_scheme_has_an_example() -> None:
    seen = {example.make(lambda u: u, 0.1).__class__ for example in SCHEMES if example.name != "semi-implicit"}
    flows = {cls for cls in public_subclasses(Scheme) if cls.__module__.startswith("companion.flows.")}
    missing = sorted(cls.__name__ for cls in flows - seen - {SemiImplicit})
    assert not missing, f"Register an example of {', '.join(missing)} in tests/laws/registry.py."
    assert any(example.make is SemiImplicit for example in SCHEMES)


@every
def test_an_example_is_implicit_where_it_has_no_limit(example: SchemeExample) -> None:
    assert (example.make(Heat(dim=1), 0.1).limit == math.inf) == example.implicit


# ---- order ------------------------------------------------------------------------------------------------------


def equations() -> list[tuple[str, Field, Tensor, float]]:
    """Heat in one and two dimensions, a nonlinear diffusion, one with a reaction: field, u_0, t."""
    nonlinear = Diffusion(Charbonnier(0.2), Gradient(0.5, 2, "periodic"))
    return [
        ("heat-1d", Heat(0.5, 1), bump(8), 0.6),
        ("heat-2d", Heat(0.5, 2), bump(5, 6), 0.2),
        ("nonlinear-2d", nonlinear, bump(5, 6), 0.2),
        ("perona-malik-1d", PeronaMalik(Exponential(0.5), Gradient(0.5, 1)), bump(8), 0.3),
        ("tv-flow-2d", TVFlow(Gradient(0.5), 0.4, bump(5, 6) ** 2, 0.5), bump(5, 6), 0.06),
    ]


@functools.cache
def exact(name: str) -> tuple[Field, Tensor, float, int, Tensor]:
    """F, u_0, t, a number n of steps, and u(t) by RK4 in 8 n steps."""
    F, u, t = next(rest for label, *rest in equations() if label == name)
    n = math.ceil(2 * t / F.max_dt)
    return F, u, t, n, F.flow(u, t, t / (8 * n), RK4).u


@pytest.mark.parametrize(
    ("example", "name"),
    [
        pytest.param(e, name, id=f"{e.name}-{name}")
        for i, e in enumerate(SCHEMES)
        for name, *_ in equations()
        if not e.apart and (i < 5 or name in ("heat-1d", "tv-flow-2d"))
    ],
)
def test_the_slope_of_the_error_is_the_order(example: SchemeExample, name: str) -> None:
    """log2 of two successive errors at a fixed time; of an order > 2, two successive differences."""
    F, u, t, n, end = exact(name)
    order = example.make(F, 0.01 * F.max_dt).order
    counts = (4, 8) if example.make is Implicit else (4 * n, 8 * n, 16 * n)
    if hasattr(example.make(F, 0.01 * F.max_dt), "start") and order > 2:
        counts = (16 * n, 32 * n, 64 * n)  # its error is many times that of a Runge-Kutta scheme
    ends = [run(example.make(F, t / (k * example.speed)), u, k=k).u for k in counts]
    errors = (
        [float((a - b).norm()) for a, b in itertools.pairwise(ends)]
        if order > 2
        else [float((a - end).norm()) for a in ends[-2:]]
    )
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)
    assert errors[1] < 0.04 * float((u - end).norm()) or example.make is Implicit


def swing(u: Tensor, t: float) -> Tensor:
    """A pendulum whose length and weight change with time; F(0, t) = 0."""
    q, p = u.unbind(-1)
    return torch.stack([p * (1 + 0.5 * math.cos(2 * t)), -torch.sin(q) * (1 + 0.5 * math.sin(3 * t + 1))], -1)


@functools.cache
def swung(speed: float) -> Tensor:
    """u(1.5) for u' = speed F(u, t), by SciPy's DOP853."""
    rate = lambda t, u: speed * swing(torch.from_numpy(u), t).numpy()  # noqa: E731
    end = scipy.integrate.solve_ivp(rate, (0, 1.5), [1.0, 0.3], "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    return torch.from_numpy(end)


@names([e for e in SCHEMES if e.make is not SemiImplicit])
def test_the_order_is_that_of_a_field_with_time_too(example: SchemeExample) -> None:
    """u' = F(u, t) as a list of steps with their times t_k = k dt: no stage may take its value at a wrong time."""
    u, errors = torch.tensor([1.0, 0.3], dtype=torch.float64), []
    first = example.make(swing, 0.1, t=0.0)
    counts = (60, 120) if first.order < 3 and not example.implicit else (30, 60)
    for k in counts:
        steps = [example.make(swing, 1.5 / k, t=n * 1.5 / k) for n in range(k)]
        errors.append(float((run(steps, u).u - swung(example.speed)).norm()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(first.order, abs=0.1), errors


@names([e for e in SCHEMES if e.make is not SemiImplicit])
def test_without_its_time_a_field_with_time_cannot_be_called(example: SchemeExample) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        after(example.make(swing, 0.1), torch.ones(2))
    u = torch.rand(3, 2, dtype=torch.float64)
    still = lambda u, t: swing(u, 0.0)  # noqa: E731
    torch.testing.assert_close(
        after(example.make(still, 0.1, t=2.0), u, 6), after(example.make(lambda u: swing(u, 0.0), 0.1), u, 6)
    )


# ---- the limit --------------------------------------------------------------------------------------------------


@explicit
def test_the_limit_is_sharp_for_exponential_decay(example: SchemeExample) -> None:
    """|R(z)| <= 1 for every z from 0 down to -2 limit, and > 1 next to it."""
    F = Decay(3.0)
    bound = example.make(F, 0.01).limit * F.max_dt
    for part in torch.linspace(0.01, 1, 100).tolist():
        assert factor(example, F, part * bound) <= 1 + 1e-9
    with pytest.warns(StabilityWarning):
        assert factor(example, F, 1.001 * bound) > 1 + 1e-4


@every
def test_one_step_of_exponential_decay_is_the_polynomial_of_the_docstring(example: SchemeExample) -> None:
    """R(-1/2) in fractions, of a scheme with a memory the root of largest modulus."""
    F = Decay(2.0)
    z = Fraction(-1, 2)
    one = Fraction(1)
    two, three = 1 + z + z**2 / 2, 1 + z + z**2 / 2 + z**3 / 6
    half = 1 + z / 2 + z**2 / 32  # the fractal block of two columns, with half the step
    R = {
        "euler": 1 + z,
        "heun": two,
        "rk4": three + z**4 / 24,
        "semi-implicit": one / (1 - z),
        "implicit": one / (1 - z),
        "midpoint": two,
        "ralston": two,
        "kutta-3": three,
        "ssp-3": three,
        "three-eighths": three + z**4 / 24,
        "two-step": 0.5,  # zeta^2 = 3/4 zeta - 1/4: a pair with the product 1/4
        "two-step-forwards": math.sqrt(0.5),  # zeta^2 = 1/2
        "adams-bashforth-2": 0.25 / 2 + math.sqrt(0.25**2 + 4 * 0.25) / 2,  # zeta^2 = zeta/4 + 1/4
        "adams-bashforth-3": np.abs(np.roots([24, -1, -16, 5])).max(),
        "adams-bashforth-4": np.abs(np.roots([48, 7, -59, 37, -9])).max(),
        "multistep": np.abs(np.roots([8, 3, -5])).max(),
        "leapfrog": 0.5 + math.sqrt(1.25),
        "neumann-2": 1 + z + z**2,
        "neumann-3": 1 + z + z**2 + z**3,
        "polynet": 1 + z + z**2,
        "picard": one / (1 - z),
        "fractal-2": 1 + z + z**2 / 8,
        "fractal-3": (half**2 + 1 + z) / 2,
    }[example.name]
    found = factor(example, F, 0.25)
    assert found == pytest.approx(float(R), rel=1e-6 if hasattr(example.make(F, 0.01), "start") else 1e-9)


@every
def test_the_declared_stability_function_is_the_measured_one(example: SchemeExample) -> None:
    """At complex z, in |z| < 1 so that Picard's iteration arrives; of two roots of one modulus either may come."""
    angle = torch.linspace(0, 6, 24, dtype=torch.float64)
    z = torch.polar(torch.linspace(0.05, 0.8, 24, dtype=torch.float64), angle)
    if example.make is SemiImplicit:  # the plane is no diffusion for it: real z only
        found = torch.tensor([factor(example, Decay(1.0), dt) for dt in z.abs().tolist()], dtype=torch.float64)
        torch.testing.assert_close(SemiImplicit.R(-z.abs()), found, rtol=1e-9, atol=0)
        return
    declared, found = example.make(lambda u: u, 1.0).R(z), stability_function(example.make)(z)
    assert declared.dtype == found.dtype == torch.complex128
    torch.testing.assert_close(declared.abs(), found.abs(), rtol=1e-9, atol=1e-9)
    if not hasattr(example.make(lambda u: u, 1.0), "start"):
        torch.testing.assert_close(declared, found, rtol=1e-9, atol=1e-9)


@explicit
def test_a_step_beyond_the_limit_is_announced_with_the_bound(example: SchemeExample) -> None:
    F = Heat(0.5)
    bound = example.make(F, 0.001).limit / 16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        example.make(F, bound)
    with pytest.warns(StabilityWarning, match=rf"Heat is stable for dt <= {bound:.4g}"):
        scheme = example.make(F, 1.01 * bound)
    assert after(scheme, spike(4, 4)).isfinite().all()


@implicit
@pytest.mark.parametrize("dt", [1e-3, 1.0, 1e3, 1e6])
def test_an_implicit_scheme_takes_every_step(example: SchemeExample, dt: float) -> None:
    F, u = Decay(3.0), bump(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(example.make(F, dt)(u), u / (1 + 3 * dt), rtol=1e-9, atol=1e-12)


@every
@pytest.mark.parametrize("dt", [0.0, -0.1, math.nan, math.inf])
def test_a_step_is_a_positive_number(example: SchemeExample, dt: float) -> None:
    with pytest.raises(ValueError, match="time step must be finite and > 0"):
        example.make(Heat(dim=1), dt)


@pytest.mark.parametrize("t", [-1.0, -1e-12, math.nan, math.inf])
def test_a_flow_does_not_run_backwards(t: float) -> None:
    with pytest.raises(ValueError, match="runs forwards"):
        Heat().flow(bump(4, 4), t)


def test_the_step_of_a_flow() -> None:
    """Shortened so that k steps end at t; t = 0 gives u_0 back; no step, no bound: it must be said."""
    F, u = Heat(), bump(4, 4)
    assert torch.equal(F.flow(u, 0.0).u, u) and F.flow(u, 0.0).k == 0
    assert [F.flow(u, t).k for t in (0.1, 0.25, 0.26, 0.5, 3 * 0.25)] == [1, 1, 2, 2, 3]
    assert F.flow(u, 1.0, 0.3).k == 4 and F.flow(u, 1.0, 5.0, SemiImplicit).k == 1
    torch.testing.assert_close(F.flow(u, 1.0, 5.0, SemiImplicit).u, SemiImplicit(F, 1.0)(u))
    for dt in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="time step must be > 0"):
            F.flow(u, 1.0, dt)
    F = Decay(1.0)
    with pytest.warns(StabilityWarning):
        F.flow(bump(4), 5.0, 2.5)
    end = F.flow(bump(4), 1.0, 0.01, Heun, record={"size": lambda u: u.norm()}, keep=10)
    assert end.curves["size"].shape == (101,) and 50 in end.kept

    class Endless(Decay):
        max_dt = math.inf

    with pytest.raises(ValueError, match="no largest step"):
        Endless(1.0).flow(bump(4), 1.0)
    assert Endless(1.0).flow(bump(4), 1.0, 0.5).k == 2


def test_a_function_is_a_field_without_a_bound() -> None:
    for scheme in (Euler, Heun, RK4, Implicit):
        torch.testing.assert_close(scheme(lambda u: 0 * u, 7.0)(bump(4)), bump(4))


# ---- extrema and mean -------------------------------------------------------------------------------------------


def adversaries(F: Field, shape: tuple[int, ...]) -> Tensor:
    two = torch.rand(6, *shape, dtype=torch.float64).round()
    return torch.cat([two, 30 * two[:3], torch.randn(3, *shape, dtype=torch.float64), spike(*shape)[None]])


def outside(u: Tensor, v: Tensor, d: int) -> float:
    axes = tuple(range(-d, 0))
    return float(torch.maximum(v.amax(axes) - u.amax(axes), u.amin(axes) - v.amin(axes)).max())


DIFFUSIONS: list[tuple[Field, tuple[int, ...]]] = [
    (Heat(0.5, 1, "periodic"), (9,)),
    (PeronaMalik(Exponential(1.0), Gradient(0.5)), (5, 6)),
    (PeronaMalik(Exponential(1.0), Gradient(0.5, 2, "periodic"), 0.7), (3, 4)),
    (Diffusion(Charbonnier(0.3), Gradient(0.5, 3)), (3, 4, 3)),
    (TVFlow(Gradient(0.5), 0.1), (5, 6)),
]


@pytest.mark.parametrize("scheme", [Euler, Heun, SSP3, Fractal])
@pytest.mark.parametrize("case", range(len(DIFFUSIONS)))
def test_means_of_steps_of_euler_keep_the_extrema_where_euler_does(scheme: type[Scheme], case: int) -> None:
    F, shape = DIFFUSIONS[case]
    u = adversaries(F, shape)
    assert outside(u, scheme(F, F.max_dt)(u), len(shape)) < 1e-12


def test_rk4_does_not_keep_them() -> None:
    """... at its limit, where it is stable: a fraction of the range; and less than dt^4 for short steps."""
    F = Heat(dim=1)
    u = torch.tensor([0, 0, 0, 0, 1, 0, 0, 0, 0], dtype=torch.float64)
    dt = RK4.limit * F.max_dt
    assert outside(u, RK4(F, dt)(u), 1) > 0.01
    far = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert all(outside(far, RK4(F, s)(far), 1) <= s**4 for s in (0.3, 0.1, 0.03))


@pytest.mark.parametrize("dt", [0.02, 1.0, 50.0, 1e4])
@pytest.mark.parametrize("case", range(len(DIFFUSIONS)))
def test_splitting_keeps_the_extrema_and_the_mean_for_any_step(case: int, dt: float) -> None:
    F, shape = DIFFUSIONS[case]
    u = adversaries(F, shape)
    v = SemiImplicit(F, dt)(u)
    assert outside(u, v, len(shape)) < 1e-10
    axes = tuple(range(-len(shape), 0))
    torch.testing.assert_close(v.mean(axes), u.mean(axes), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dt", [0.3, 50.0])
@pytest.mark.parametrize("case", range(len(DIFFUSIONS)))
def test_backward_euler_keeps_the_extrema_and_the_mean_for_any_step(case: int, dt: float) -> None:
    F, shape = DIFFUSIONS[case]
    tol = max(1000, dt / F.max_dt) * torch.finfo(torch.float64).eps
    for u in adversaries(F, shape)[[0, 7] if dt > 1 else [0]]:
        v = Implicit(F, dt)(u)
        assert float((u + dt * F(v) - v).norm() / u.norm()) < 1.01 * tol
        assert outside(u, v, len(shape)) < 1e-10 * float(u.abs().max())
        torch.testing.assert_close(v.mean(), u.mean(), rtol=1e-10, atol=1e-10)


# ---- the implicit schemes in matrices ---------------------------------------------------------------------------


def matrix(L: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Tensor:
    n = math.prod(shape)
    return torch.stack([L(e.reshape(shape)).flatten() for e in torch.eye(n, dtype=torch.float64)], 1)


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize("shape", [(7,), (4, 5), (3, 4, 2)])
def test_the_step_of_splitting_in_matrices(shape: tuple[int, ...], boundary: str) -> None:
    r"""(1/d) sum_i (I + dt r - d dt L_i)^{-1} (u + dt s), with L_i v = -D_i^T c D_i v by dense matrices."""
    d, h, dt = len(shape), 0.5, 0.7
    grad = Gradient(h, d, boundary)
    f = torch.randn(shape, dtype=torch.float64)
    u = torch.randn(shape, dtype=torch.float64)
    for F in (PeronaMalik(Exponential(1.0), grad), TVFlow(grad, 0.3, f, 0.8)):
        r, s = (1 / 0.8, f / 0.8) if isinstance(F, TVFlow) else (0.0, torch.zeros_like(f))
        c = F.g(grad(u).square().sum(0)).flatten()
        n, total = u.numel(), torch.zeros(u.numel(), dtype=torch.float64)
        for i in range(d):
            D = matrix(lambda v, i=i: grad(v)[i], shape)
            A = (1 + dt * r) * torch.eye(n, dtype=torch.float64) + d * dt * D.T @ torch.diag(c) @ D
            total += torch.linalg.solve(A, (u + dt * s).flatten()) / d
        torch.testing.assert_close(SemiImplicit(F, dt)(u).flatten(), total, rtol=0, atol=1e-12)


def test_splitting_treats_all_axes_alike() -> None:
    u = torch.randn(6, 6, dtype=torch.float64)
    step = SemiImplicit(Heat(), 3.0)
    torch.testing.assert_close(step(u.T), step(u).T, rtol=0, atol=1e-14)


def test_splitting_asks_for_forward_differences() -> None:
    for F in (lambda u: -u, PeronaMalik(Exponential(1.0), haar_gradient())):
        with pytest.raises(TypeError, match="SemiImplicit splits a diffusion along the axes"):
            SemiImplicit(F, 0.1)


def test_backward_euler_of_a_linear_field_is_a_linear_solve() -> None:
    u, F = bump(5, 6), PeronaMalik(Exponential(1.0), haar_gradient())
    L, dt = F.frozen(u), 4.0
    A = torch.eye(30, dtype=torch.float64) - dt * matrix(L, (5, 6))
    torch.testing.assert_close(Implicit(L, dt)(u).flatten(), torch.linalg.solve(A, u.flatten()), rtol=0, atol=1e-11)


def test_backward_euler_takes_any_function() -> None:
    """z = u + dt F(z) for the pendulum's equation, by SciPy's root finder."""
    u = torch.tensor([1.0, -0.4], dtype=torch.float64)
    pendulum = lambda v: torch.stack([v[1], -torch.sin(v[0])])  # noqa: E731
    z = Implicit(pendulum, 0.9)(u)

    def residual(v: np.ndarray) -> np.ndarray:
        return v - u.numpy() - 0.9 * np.array([v[1], -np.sin(v[0])])

    exact = scipy.optimize.fsolve(residual, u.numpy(), xtol=1e-13)
    np.testing.assert_allclose(z.numpy(), exact, rtol=0, atol=1e-11)


@implicit
def test_gradients_flow_through_an_implicit_step(example: SchemeExample) -> None:
    """To the picture and to the diffusivity's parameter; for Implicit by the implicit function's derivative."""
    u = bump(3, 3).requires_grad_()
    sigma = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)

    def step(u: Tensor, sigma: Tensor) -> Tensor:
        return example.make(Diffusion(lambda s: torch.exp(-s / (2 * sigma**2)), Gradient()), 0.7)(u)

    assert torch.autograd.gradcheck(step, (u, sigma), atol=1e-6, nondet_tol=1e-12, fast_mode=True)


def test_the_gradient_of_an_implicit_step_can_be_left_out() -> None:
    with torch.no_grad():
        assert not Implicit(Heat(), 2.0)(bump(4, 4).requires_grad_()).requires_grad
    assert not Implicit(Heat(), 2.0)(bump(4, 4)).requires_grad


def test_newtons_method_that_does_not_arrive_says_so() -> None:
    F, u = PeronaMalik(Exponential(0.1)), 3 * torch.randn(6, 6, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="1 steps of Newton's method reached a residual"):
        Implicit(F, 20.0, k=1)(u)
    loose = Implicit(F, 20.0, tol=1e-2)(u)
    assert 1e-12 < float((u + 20 * F(loose) - loose).norm() / u.norm()) <= 1e-2
    for bad in ({"k": 0}, {"tol": 0.0}, {"tol": -1.0}):
        with pytest.raises(ValueError, match="Newton's method needs tol > 0 and at least one step"):
            Implicit(F, 1.0, **bad)


@every
def test_a_batch_is_a_loop_and_the_type_is_kept(example: SchemeExample) -> None:
    F = PeronaMalik(Exponential(1.0))
    dt = 0.03 if example.make(F, 0.001).limit < 1 else 0.2
    step, u = example.make(F, dt), torch.randn(2, 4, 5, dtype=torch.float64)
    before, k = u.clone(), 5 if hasattr(step, "start") else 1  # more than the steps of the starter
    torch.testing.assert_close(after(step, u, k), torch.stack([after(step, v, k) for v in u]), rtol=1e-9, atol=1e-9)
    assert torch.equal(u, before)
    small = after(step, u.float(), k)
    assert small.dtype == torch.float32
    torch.testing.assert_close(small.double(), after(step, u, k), rtol=1e-3, atol=1e-3)


@every
@pytest.mark.parametrize("t", [math.nan, math.inf, -math.inf])
def test_the_time_of_a_step_is_a_number(example: SchemeExample, t: float) -> None:
    message = "no time t" if example.make is SemiImplicit else "time of a step is a finite number t"
    with pytest.raises(ValueError, match=message):
        example.make(Heat(dim=1), 0.001, t=t)


def test_the_norm_of_an_explicit_step_is_its_matrix_exponential_up_to_the_order() -> None:
    """Heat is linear: u(t) = exp(t L) u_0, by SciPy."""
    F, u, t = Heat(0.5, 1), bump(9), 0.2
    exact = torch.from_numpy(scipy.linalg.expm(t * matrix(F, (9,)).numpy())) @ u
    for scheme, tol in ((Euler, 1e-2), (Heun, 1e-3), (RK4, 1e-6), (SemiImplicit, 2e-2), (Implicit, 2e-2)):
        assert float((F.flow(u, t, t / 20, scheme).u - exact).norm() / u.norm()) < tol
