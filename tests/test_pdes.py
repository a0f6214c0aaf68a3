"""The equations of the PDE-Nets and their data: exact solutions, a second method, loops, and the papers' recipes."""

import itertools
import math
import time
from collections.abc import Callable

import pytest
import sympy
import torch
from torch import Tensor

from companion import RK4, Euler, Heun
from companion.lab.pde_data import frames, random_initial, reader, with_noise
from companion.lab.pde_grid import odd, resampled
from companion.lab.pdes import (
    Burgers,
    ConvectionDiffusion,
    Equation,
    Heat,
    ReactionDiffusionConvection,
    Recipe,
    SinSource,
    Spectral,
    Upwind,
    cole_hopf,
    points,
    solve,
)
from companion.nets.polynomial import Polynomial

EQUATIONS = [Burgers, Heat, ReactionDiffusionConvection, ConvectionDiffusion, SinSource]
each_equation = pytest.mark.parametrize("make", EQUATIONS)


def rms(u: Tensor) -> float:
    return float(u.square().mean().sqrt())


def slopes(errors: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


# ---- exact solutions -------------------------------------------------------------------------------------------------


def phi(x: Tensor, y: Tensor, decay: Callable[[int], float]) -> tuple[Tensor, Tensor, Tensor]:
    """3 + cos x + 0.8 sin(x + y) + 0.5 cos(2y - x), with its derivatives, the term of |k|^2 times decay(|k|^2)."""
    a, b, c = decay(1), 0.8 * decay(2), 0.5 * decay(5)
    value = 3 + a * x.cos() + b * (x + y).sin() + c * (2 * y - x).cos()
    by_x = -a * x.sin() + b * (x + y).cos() + c * (2 * y - x).sin()
    by_y = b * (x + y).cos() - 2 * c * (2 * y - x).sin()
    return value, by_x, by_y


def hopf(N: int, t: float, nu: float) -> Tensor:
    """An exact solution of Burgers, of closed form."""
    value, by_x, by_y = phi(*points(N), lambda k2: math.exp(-nu * k2 * t))
    return -2 * nu * torch.stack((by_x, by_y)) / value


def test_hopfs_formula_solves_burgers_equation():
    """u = -2 nu grad phi / phi: by SymPy, at some points."""
    x, y, t = sympy.symbols("x y t", real=True)
    nu = sympy.Rational(3, 10)
    p = 3 + sympy.exp(-nu * t) * sympy.cos(x) + sympy.exp(-2 * nu * t) * sympy.sin(x + y) * sympy.Rational(4, 5)
    u, v = (-2 * nu * p.diff(s) / p for s in (x, y))
    for w in (u, v):
        rest = w.diff(t) + u * w.diff(x) + v * w.diff(y) - nu * (w.diff(x, 2) + w.diff(y, 2))
        for at in ({x: 0.3, y: 1.1, t: 0.2}, {x: 4.0, y: 2.5, t: 1.0}):
            assert abs(float(rest.subs(at).evalf(30))) < 1e-12


def test_cole_hopf_is_the_closed_form():
    value, *_ = phi(*points(24), lambda k2: 1.0)
    assert torch.allclose(cole_hopf(value, 0.3, 0.7), hopf(24, 0.7, 0.3), atol=1e-13)
    with pytest.raises(ValueError, match=r"needs phi > 0 everywhere; got the minimum -1\."):
        cole_hopf(points(8)[0].cos(), 0.1, 0.0)


def test_upwind_has_order_2_on_burgers():
    nu, t = 0.3, 0.5
    field = [Upwind(Burgers(nu), N) for N in (32, 64, 128)]
    errors = [rms(solve(F, hopf(F.N, 0.0, nu), t, 1, max_dt=1e-3)[1] - hopf(F.N, t, nu)) for F in field]
    assert errors[-1] < 5e-5
    assert all(abs(s - 2) < 0.15 for s in slopes(errors)), slopes(errors)


def test_upwind_has_order_2_on_burgers_with_both_directions_of_flow():
    """u(x - a t, y - a t, t) + a solves Burgers, too: here c < 0 dominates, or c > 0."""
    nu, t = 0.3, 0.5
    for shift in (-2.0, 2.0):
        errors = []
        for N in (32, 64, 128):
            x, y = points(N) - shift * t
            value, by_x, by_y = phi(x, y, lambda k2: math.exp(-nu * k2 * t))
            exact = shift - 2 * nu * torch.stack((by_x, by_y)) / value
            u0 = hopf(N, 0.0, nu) + shift
            errors.append(rms(solve(Upwind(Burgers(nu), N), u0, t, 1, max_dt=1e-3)[1] - exact))
        assert errors[-1] < 6e-4
        assert all(1.7 < s < 2.2 for s in slopes(errors)), slopes(errors)


def test_the_series_finds_burgers_solution_to_ten_digits():
    nu, t = 0.3, 0.5
    errors = [
        float(
            (solve(Spectral(Burgers(nu), N), hopf(N, 0.0, nu), t, 1, scheme=RK4, max_dt=2e-3)[1] - hopf(N, t, nu))
            .abs()
            .max()
        )
        for N in (16, 32, 64)
    ]
    assert errors[0] < 5e-3 and errors[1] < 2e-5 and errors[2] < 1e-10, errors


@pytest.mark.parametrize(("scheme", "order"), [(Euler, 1), (Heun, 2), (RK4, 4)])
def test_orders_in_time(scheme: type, order: int):
    nu, t, N = 0.3, 0.4, 32
    field, u0 = Spectral(Burgers(nu), N), hopf(N, 0.0, nu)
    exact = solve(field, u0, t, 1, scheme=RK4, max_dt=2e-3)[1]
    steps = [0.016, 0.008] if scheme is RK4 else [0.004, 0.002]
    errors = [rms(solve(field, u0, t, 1, scheme=scheme, max_dt=dt)[1] - exact) for dt in steps]
    assert abs(slopes(errors)[0] - order) < 0.15, errors


def test_heat_is_solved_exactly():
    x, y = points(20)
    nu, t = 0.1, 0.8
    u0 = 1 + (2 * x).cos() * y.sin() + 0.3 * (x - 3 * y).sin()
    exact = 1 + math.exp(-5 * nu * t) * (2 * x).cos() * y.sin() + 0.3 * math.exp(-10 * nu * t) * (x - 3 * y).sin()
    assert torch.allclose(Heat(nu).exact(u0, t), exact, atol=1e-14)
    by_series = solve(Spectral(Heat(nu), 20), u0[None], t, 1, scheme=RK4, max_dt=0.02)[1, 0]
    assert float((by_series - exact).abs().max()) < 1e-8
    errors = []
    for N in (20, 40, 80):
        u0 = random_initial(Heat(), 2, N, seed=1)
        errors.append(rms(solve(Upwind(Heat(nu), N), u0, t, 1, max_dt=5e-3)[:, 1] - Heat(nu).exact(u0, t)))
    assert all(abs(s - 2) < 0.2 for s in slopes(errors)), slopes(errors)


def test_five_points_keep_a_sine_and_damp_it_as_they_should():
    """Dirichlet: sin(i x/2) sin(j y/2) is an eigenvector, with -4 nu/h^2 (sin^2(i h/4) + sin^2(j h/4))."""
    N, nu = 12, 0.3
    field = Upwind(SinSource(nu, size=0.0), N)
    x, y = points(N, periodic=False)
    for i, j in ((1, 1), (2, 5), (11, 3)):
        u = ((i * x / 2).sin() * (j * y / 2).sin())[None]
        value = -4 * nu / field.h**2 * (math.sin(i * field.h / 4) ** 2 + math.sin(j * field.h / 4) ** 2)
        assert torch.allclose(field(u), value * u, atol=1e-12)
        exact = -nu / 4 * (i * i + j * j)
        assert torch.allclose(Spectral(SinSource(nu, size=0.0), N)(u), exact * u, atol=1e-11)


# ---- F(u), number by number ------------------------------------------------------------------------------------------


def by_rolls(equation: Equation, u: Tensor, N: int) -> Tensor:
    """The upwind differences of u_t = -c . grad u + nu_1 u_xx + nu_2 u_yy + r, once more: by rolls and a choice."""
    h = 2 * math.pi / N
    c = equation.velocity(u, points(N))
    r = equation.source(u)
    F = torch.zeros_like(u) if r is None else r.clone()
    for i, axis in enumerate((-2, -1)):

        def at(k: int, axis: int = axis) -> Tensor:
            return torch.roll(u, -k, axis)

        if c is not None:
            left = (3 * u - 4 * at(-1) + at(-2)) / (2 * h)
            right = (-3 * u + 4 * at(1) - at(2)) / (2 * h)
            F -= c[i] * torch.where(c[i] > 0, left, right)
        F += equation.nu[i] * (at(1) - 2 * u + at(-1)) / h**2
    return F


@pytest.mark.parametrize("make", [Burgers, Heat, ReactionDiffusionConvection, ConvectionDiffusion])
def test_upwind_by_rolls(make: type[Equation]):
    u = torch.randn(3, make.channels, 9, 9, dtype=torch.float64)
    assert torch.allclose(Upwind(make(), 9)(u), by_rolls(make(), u, 9), atol=1e-11)


def test_the_sources_number_by_number():
    u, v = 0.7, -1.3
    A = u * u + v * v
    z = torch.tensor([u, v], dtype=torch.float64)[:, None, None].expand(2, 3, 3)
    r = ReactionDiffusionConvection(0.1, beta=2.0).source(z)[:, 0, 0]
    assert r.tolist() == pytest.approx([(1 - A) * u + 2 * A * v, -2 * A * u + (1 - A) * v])
    assert float(SinSource().source(z)[0, 0, 0]) == pytest.approx(15 * math.sin(u))
    a, b = ConvectionDiffusion.coefficients(torch.tensor([0.5, 2.0], dtype=torch.float64))
    assert float(a) == pytest.approx(0.5 * (math.cos(0.5) + 2 * (2 * math.pi - 2) * math.sin(2.0)) + 0.6)
    assert float(b) == pytest.approx(2 * (math.cos(0.5) + math.sin(2.0)) + 0.8)


@pytest.mark.parametrize("make", [Burgers, Heat, ReactionDiffusionConvection])
def test_the_series_is_the_polynomial_of_the_true_terms(make: type[Equation]):
    """F(u) of a trigonometric polynomial by `terms`, with derivatives in closed form."""
    N = 32
    x, y = points(N)
    u = (2 * x).sin() + 0.5 * (x - y).cos() + 0.3
    v = (x + 2 * y).cos() - 0.4 * y.sin()
    du = [u, 2 * (2 * x).cos() - 0.5 * (x - y).sin(), 0.5 * (x - y).sin()]
    du += [-4 * (2 * x).sin() - 0.5 * (x - y).cos(), 0.5 * (x - y).cos(), -0.5 * (x - y).cos()]
    dv = [v, -(x + 2 * y).sin(), -2 * (x + 2 * y).sin() - 0.4 * y.cos()]
    dv += [-(x + 2 * y).cos(), -2 * (x + 2 * y).cos(), -4 * (x + 2 * y).cos() + 0.4 * y.sin()]
    equation = make()
    features = torch.stack([*du, *dv][: 6 * equation.channels]).flatten(1)
    F = Polynomial.of(*equation.terms, names=equation.names)(features).reshape(-1, N, N)
    state = torch.stack((u, v))[: equation.channels]
    assert torch.allclose(Spectral(equation, N)(state), F, atol=1e-11)
    assert rms(Upwind(equation, N)(state) - F) < 0.12 * rms(F)


def test_the_series_with_variable_coefficients():
    x, y = points(128)
    u = (2 * x).sin() + 0.5 * (x - y).cos()
    a, b = ConvectionDiffusion.coefficients(points(128))
    F = a * (2 * (2 * x).cos() - 0.5 * (x - y).sin()) + b * 0.5 * (x - y).sin()
    F = F + 0.2 * (-4 * (2 * x).sin() - 0.5 * (x - y).cos()) + 0.3 * (-0.5 * (x - y).cos())
    assert rms(Spectral(ConvectionDiffusion(), 128)(u[None])[0] - F) < 2e-4
    assert rms(Spectral(ConvectionDiffusion(), 30)(resampled(u, 30)[None])[0] - resampled(F, 30)) < 3e-3


def test_products_are_not_aliased():
    """(9x) twice is 18, which 24 points take for 6; (9x) three times is 27, taken for 3."""
    N = 24
    x, y = points(N)
    u = torch.stack(((9 * x).cos(), 0 * y))
    F = torch.fft.rfft2(Spectral(Burgers(0.05), N)(u)[0])
    assert float(F[6, 0].abs()) < 1e-9 and float(F[9, 0].abs()) > 1
    undealiased = torch.fft.rfft2((9 * x).cos() * (9 * x).sin())
    assert float(undealiased[6, 0].abs()) > 100
    F = torch.fft.rfft2(Spectral(ReactionDiffusionConvection(), N)(u)[0])
    assert float(F[3, 0].abs()) < 1e-9
    cos, degree = float(F[9, 0].real) * 2 / N**2, 81 * 0.1
    assert cos == pytest.approx(1 - degree - 0.75, abs=1e-12)  # cos^3 = 3/4 cos + ..., and u^2 u has no share of v


# ---- a second method -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("equation", "grids", "t"),
    [(ReactionDiffusionConvection(), (32, 64, 128), 0.2), (ConvectionDiffusion(), (40, 80, 160), 0.1)],
    ids=["reaction", "coefficients"],
)
def test_upwind_and_series_meet_at_order_2(equation: Equation, grids: tuple[int, ...], t: float):
    w = torch.randn(1, equation.channels, 5, 5, dtype=torch.float64)
    fine = solve(Spectral(equation, 80), resampled(w, 80), t, 1, scheme=RK4, max_dt=2e-3)[:, 1]
    errors = [rms(solve(Upwind(equation, N), resampled(w, N), t, 1)[:, 1] - resampled(fine, N)) for N in grids]
    assert errors[-1] < 0.01 * rms(fine)
    assert all(1.6 < s < 2.3 for s in slopes(errors)), slopes(errors)


def test_thirty_modes_are_enough_for_the_papers_data():
    """30 modes against 90: the difference is below the noise of 0.015 that is added, by far."""
    equation = ConvectionDiffusion()
    w = random_initial(equation, 2, 30, seed=3)
    coarse = solve(Spectral(equation, 30), w, 0.3, 1, scheme=RK4, max_dt=5e-3)[:, 1]
    fine = solve(Spectral(equation, 90), resampled(w, 90), 0.3, 1, scheme=RK4)[:, 1]
    assert rms(coarse - resampled(fine, 30)) < 2e-3 * rms(coarse)


def test_five_points_and_series_meet_at_order_2():
    equation, t = SinSource(0.3, size=5.0), 0.1
    x, y = points(64, periodic=False)
    u = 2 * (x / 2).sin() * (y / 2).sin() - (3 * x / 2).sin() * y.sin()
    reference = solve(Spectral(equation, 64), u[None], t, 1, scheme=RK4, max_dt=1e-3)[1, 0]
    errors = []
    for N in (16, 32, 64):
        k = 64 // N
        coarse = u[k - 1 :: k, k - 1 :: k]
        by_differences = solve(Upwind(equation, N), coarse[None], t, 1, scheme=RK4, max_dt=2e-3)[1, 0]
        errors.append(rms(by_differences - reference[k - 1 :: k, k - 1 :: k]))
    assert errors[-1] < 0.01
    assert all(1.8 < s < 2.3 for s in slopes(errors)), slopes(errors)


def test_euler_on_five_points_has_order_1_in_time():
    equation, N, t = SinSource(), 24, 0.1
    u = random_initial(equation, 2, N, seed=0)
    exact = solve(Upwind(equation, N), u, t, 1, scheme=RK4, max_dt=1e-3)[:, 1]
    errors = [rms(solve(Upwind(equation, N), u, t, 1, scheme=Euler, max_dt=dt)[:, 1] - exact) for dt in (2e-3, 1e-3)]
    assert abs(slopes(errors)[0] - 1) < 0.1


@each_equation
def test_a_steady_state_stays(make: type[Equation]):
    """u = 0, and a constant flow without source, move nothing."""
    equation = make()
    n = 10 if equation.periodic else 9
    value = 1.5 if isinstance(equation, Heat | ConvectionDiffusion) or type(equation) is Burgers else 0.0
    u = torch.full((equation.channels, n, n), value, dtype=torch.float64)
    for F in (Upwind(equation, 10), Spectral(equation, 10)):
        assert float(F(u).abs().max()) < 1e-12


# ---- fields as maps --------------------------------------------------------------------------------------------------


@each_equation
@pytest.mark.parametrize("field", [Upwind, Spectral])
def test_batches_types_and_gradients(make: type[Equation], field: type):
    F = field(make(), 8)
    n = 8 if make.periodic else 7
    u = torch.randn(2, 3, make.channels, n, n, dtype=torch.float64)
    assert torch.allclose(F(u)[1, 2], F(u[1, 2]), atol=1e-12)
    assert F(u.float()).dtype == torch.float32
    assert torch.allclose(F(u.float()).double(), F(u), rtol=1e-3, atol=1e-3)
    before = u.clone()
    F(u)
    assert torch.equal(u, before)
    assert torch.autograd.gradcheck(F, (u[0, :1].clone().requires_grad_(),), atol=1e-5)


def test_solve_is_the_same_trajectory_by_trajectory_and_frame_by_frame():
    u = torch.randn(2, 3, 2, 16, 16, dtype=torch.float64)
    F = Upwind(Burgers(), 16)
    films = solve(F, u, 0.02, 3, max_dt=0.007)
    assert films.shape == (2, 3, 4, 2, 16, 16)
    assert torch.equal(films[:, :, 0], u)
    assert torch.allclose(solve(F, u[1, 2], 0.02, 3, max_dt=0.007), films[1, 2], atol=1e-14)
    step, state = Heun(F, 0.02 / 3), u[0, 1]
    for _ in range(6):
        state = step(state)
    assert torch.allclose(films[0, 1, 2], state, atol=1e-13)
    read = solve(F, u, 0.02, 3, max_dt=0.007, read=lambda u: u[..., ::4, ::4])
    assert torch.equal(read, films[..., ::4, ::4])
    many = torch.randn(70, 2, 32, 32, dtype=torch.float64)  # in several blocks
    assert torch.equal(
        solve(Upwind(Burgers(), 32), many, 1e-3, 1)[40:45], solve(Upwind(Burgers(), 32), many[40:45], 1e-3, 1)
    )


def test_solve_takes_no_longer_steps_than_it_may():
    F = Upwind(Heat(1.0), 16)
    taken = []

    def scheme(field: Upwind, dt: float) -> Heun:
        taken.append(dt)
        return Heun(field, dt)

    u = torch.randn(1, 16, 16, dtype=torch.float64)
    scheme.limit = 1.0
    solve(F, u, 0.1, 1, scheme=scheme)
    solve(F, u, 0.1, 1, scheme=scheme, max_dt=0.01)
    solve(F, u, 0.1, 1, scheme=scheme, max_dt=0.03)
    assert F.longest(u) == pytest.approx(F.max_dt)
    assert 0.1 / taken[0] == pytest.approx(math.ceil(0.1 / (0.9 * F.max_dt)))
    assert taken[1:] == pytest.approx([0.01, 0.025])


@pytest.mark.parametrize("make", [Burgers, Heat, ConvectionDiffusion, SinSource])
@pytest.mark.parametrize("field", [Upwind, Spectral])
def test_the_longest_step_is_stable_and_not_far_from_the_longest_that_is(make: type[Equation], field: type):
    """F linear about a constant u, as a matrix J: |R(dt J)| <= 1 for nearly the longest dt, not for three times it."""
    equation = make(size=0.0) if make is SinSource else make()
    n = 8 if make.periodic else 7
    u = 5 * torch.randn(equation.channels, 1, 1, dtype=torch.float64).expand(-1, n, n)
    u = u if make.periodic else 0 * u
    F, scheme = field(equation, 8), RK4 if field is Spectral else Heun
    J = torch.autograd.functional.jacobian(F, u).reshape(u.numel(), u.numel())
    values = torch.linalg.eigvals(J)
    dt = scheme.limit * F.longest(u)
    growth = [float(scheme.R(factor * dt * values).abs().max()) for factor in (0.9, 3.0)]
    assert growth[0] < 1.02 and growth[1] > 1.02, growth


def test_an_interrupt_leaves_no_shorter_film():
    class Stopped(Upwind):
        calls = 0

        def forward(self, u: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 15:
                raise KeyboardInterrupt
            return super().forward(u)

    with pytest.raises(KeyboardInterrupt):
        solve(Stopped(Heat(), 16), torch.randn(1, 16, 16, dtype=torch.float64), 0.01, 9, max_dt=0.005)


def test_odd_continuation_and_resampling():
    x, y = points(10, periodic=False)
    u = (x / 2).sin() * (3 * y / 2).sin()
    X, Y = (points(20) * 2).unbind()
    assert torch.allclose(odd(u), (X / 2).sin() * (3 * Y / 2).sin(), atol=1e-14)
    f = points(9)
    assert torch.allclose(resampled((4 * f[0]).cos() + f[1].sin(), 32), (4 * points(32)[0]).cos() + points(32)[1].sin())
    u = torch.randn(9, 9, dtype=torch.float64)
    assert torch.allclose(resampled(resampled(u, 22), 9), u, atol=1e-13)


# ---- data ------------------------------------------------------------------------------------------------------------


def test_frames_are_the_solution_at_some_points():
    options = {"n": 3, "steps": 2, "grid": 32, "seed": 5, "cache": False}
    data = frames(Burgers(), coarse=8, noise=0.0, **options)
    u0 = random_initial(Burgers(), 3, 32, seed=5)
    F = Upwind(Burgers(), 32)
    u0[:1] = solve(F, u0[:1], 1.0, 1, max_dt=1 / 1600)[:, 1]
    u = solve(F, u0, 0.01, 2, max_dt=1 / 1600)
    assert torch.equal(data.u, u[..., ::4, ::4])
    assert data.dt == 0.01 and data.h == pytest.approx(2 * math.pi / 8) and data.noise == 0.0
    late = frames(Burgers(), coarse=8, noise=0.0, start_time=0.0, **options)
    assert torch.equal(late.u[1:], data.u[1:]) and not torch.equal(late.u[:1], data.u[:1])


def test_frames_where_the_coarse_points_are_not_among_the_fine_ones():
    data = frames(ConvectionDiffusion(), n=1, steps=1, noise=0.0, cache=False)
    assert data.u.shape == (1, 2, 1, 50, 50)
    u0 = random_initial(ConvectionDiffusion(), 1, 30)[0, 0]
    a = torch.fft.fft2(u0) / 900
    x, y = points(50)[:, 7, 23]
    k = torch.fft.fftfreq(30, 1 / 30, dtype=torch.float64)
    value = (a * torch.exp(1j * (k[:, None] * x + k * y))).sum().real
    assert float(data.u[0, 0, 0, 7, 23]) == pytest.approx(float(value), abs=1e-12)
    u = torch.randn(1, 12, 12, dtype=torch.float64)
    u = resampled(resampled(u, 11), 12)
    assert torch.allclose(reader(12, 8, True)(u), resampled(u, 16)[..., ::2, ::2])


def test_the_border_is_left_out_of_the_data():
    data = frames(SinSource(), n=2, steps=1, grid=20, coarse=5, noise=0.0, cache=False)
    assert data.u.shape == (2, 2, 1, 4, 4)
    assert torch.equal(data.u[:, 0], random_initial(SinSource(), 2, 20)[..., 3::4, 3::4])


@each_equation
def test_the_papers_sizes(make: type[Equation]):
    r = make().recipe
    expected = {
        Burgers: (Upwind, Heun, 1 / 1600, 128, 32, 0.01, 1.0, (4, 4), 2.0, 2.0, 0.001),
        Heat: (Upwind, Heun, 1 / 1600, 128, 32, 0.01, 0.0, (4, 4), 2.0, 2.0, 0.001),
        ReactionDiffusionConvection: (Upwind, Heun, 1e-4, 128, 32, 0.01, 1.0, (4, 4), 2.0, 2.0, 0.001),
        ConvectionDiffusion: (Spectral, RK4, 5e-3, 30, 50, 0.015, 0.0, (4, 7), 0.4, 0.0, 0.015),
        SinSource: (Upwind, Euler, math.inf, 250, 50, 0.01, 0.0, (4, 7), 0.4, 0.0, 0.01),
    }
    assert isinstance(r, Recipe) and tuple(r) == expected[make]


def test_initial_data_of_one_cutoff():
    u = random_initial(Burgers(), 40, 64, seed=2)
    a = torch.fft.rfft2(u) / 64**2
    assert float(a[..., 5:60, :].abs().max()) < 1e-12 and float(a[..., 5:].abs().max()) < 1e-12
    assert float(a[..., 4, 4].abs().min()) > 1e-4
    shift = a[..., 0, 0].real
    w = u - shift[..., None, None]
    assert -2.6 < float(shift.min()) < -1.6 and 1.6 < float(shift.max()) < 2.6
    assert float(w.abs().amax((-2, -1)).mean()) == pytest.approx(2.0, abs=0.2)
    fine = random_initial(Burgers(), 40, 128, seed=2)
    assert rms(fine[..., ::2, ::2] - u) < 0.05


def test_initial_data_of_a_random_cutoff():
    """100 times white noise on 250 x 250 points, cut off: 0.16 of variance for each of (2K_1 + 1)(2K_2 + 1) terms."""
    u = random_initial(ConvectionDiffusion(), 300, 30, seed=1)[:, 0]
    a = torch.fft.fft2(u) / 900
    k = torch.fft.fftfreq(30, 1 / 30).abs()
    there = a.abs() > 1e-9
    cuts = torch.stack([(there.any(d) * k).amax(-1) for d in (2, 1)], 1)
    assert sorted(set(cuts.flatten().tolist())) == [4, 5, 6, 7]
    terms = (2 * cuts + 1).prod(1)
    assert torch.equal(there.sum((1, 2)), terms.long())
    assert float((u.square().mean((1, 2)) / terms).mean()) == pytest.approx(0.16, rel=0.03)


def test_initial_data_vanish_at_the_border():
    equation = SinSource()
    u = random_initial(equation, 5, 30, seed=1)
    free = ConvectionDiffusion()
    w = random_initial(free, 5, 30, seed=1)  # the same random numbers
    s = torch.arange(30, dtype=torch.float64) / 30
    s = s * (1 - s)
    assert torch.allclose(u, (16 * s[:, None] * s * w)[..., 1:, 1:])


def test_the_noise_is_relative_to_the_first_frame():
    u = torch.stack((torch.full((64, 64), 3.0), torch.zeros(64, 64))).double()
    u[0, ::2] += 2.0  # deviation 1
    u[1, ::2] += 20.0  # deviation 10
    film = torch.stack((u, 7 * u))[None].expand(3, 2, 2, 64, 64)
    noise = with_noise(film, 0.01, seed=0) - film
    for channel, sigma in ((0, 0.01), (1, 0.1)):
        assert noise[:, :, channel].std((-2, -1)).tolist() == pytest.approx(sigma * torch.ones(3, 2), rel=0.06)
    assert abs(float(noise[:, 0, 0].mul(noise[:, 1, 0]).mean())) < 1e-6
    assert with_noise(film, 0.0) is film


def test_a_seed_is_a_film_to_the_last_bit():
    options = {"n": 2, "steps": 2, "grid": 32, "coarse": 16, "start_time": 0.01, "cache": False}
    data = frames(Burgers(), seed=3, **options)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again = frames(Burgers(), seed=3, **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(again.u, data.u)
    other = frames(Burgers(), seed=4, **options)
    assert rms(other.u - data.u) > 0.1
    clean, noisy = (frames(Burgers(), seed=3, noise=noise, **options).u for noise in (0.0, 0.01))
    assert torch.allclose(noisy - clean, 10 * (data.u - clean), atol=1e-12)
    equation = Burgers()
    assert frames(equation, seed=3, **options).equation is equation


def derivative(u: Tensor, i: int, j: int) -> Tensor:
    n = u.shape[-1]
    k = 1j * torch.fft.fftfreq(n, 1 / n, dtype=u.dtype)
    return torch.fft.ifft2(torch.fft.fft2(u) * k[:, None] ** i * k**j).real


def test_the_error_of_the_fine_grid_is_in_the_data():
    """u_t = c_1 u u_x + c_2 v u_y + c_3 u_xx + c_4 u_yy by least squares, all derivatives exact."""
    errors = []
    for grid in (128, 256):
        options = {"grid": grid, "coarse": grid, "dt": 0.0025, "noise": 0.0, "start_time": 0.0, "cache": False}
        film = frames(Burgers(), n=2, steps=4, **options).u
        u_t = (film[:, 0] - 8 * film[:, 1] + 8 * film[:, 3] - film[:, 4])[:, 0] / (12 * 0.0025)
        u, v = film[:, 2].unbind(1)
        features = [u * derivative(u, 1, 0), v * derivative(u, 0, 1), derivative(u, 2, 0), derivative(u, 0, 2)]
        c = torch.linalg.lstsq(torch.stack([f.flatten() for f in features], 1), u_t.reshape(-1, 1)).solution[:, 0]
        errors.append((c - torch.tensor([-1.0, -1.0, 0.05, 0.05])).tolist())
    assert all(-0.015 < e < -0.005 for e in errors[0][:2]) and all(0 < e < 0.001 for e in errors[0][2:]), errors
    assert all(3 < a / b < 5 for a, b in zip(errors[0][:2], errors[1][:2], strict=True)), errors


def test_eight_films_of_burgers_take_seconds():
    frames(Burgers(), n=1, steps=1, start_time=0.0, cache=False)
    begin = time.process_time()
    data = frames(Burgers(), n=8, steps=15, start_time=0.0, cache=False)
    assert data.u.shape == (8, 16, 2, 32, 32)
    assert time.process_time() - begin < 12
