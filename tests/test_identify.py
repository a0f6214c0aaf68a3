"""Identification in seconds: fits in time, random points, and the equation that is found, against what is known."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from companion.dynamics import run
from companion.flows.schemes import RK4
from companion.lab.identify import at_points, identify, in_time
from companion.lab.minimise import minimise
from companion.lab.pde_data import frames
from companion.lab.pdes import Burgers, Heat, Recipe, Spectral
from companion.nets.moments import MomentBank, upwind
from companion.nets.pdenet import ORDERS


class Film(NamedTuple):
    u: Tensor
    dt: float
    h: float


def burgers(noise: float, seed: int = 0, n: int = 4, steps: int = 10) -> tuple[Burgers, Film]:
    equation = Burgers(0.05)
    equation.recipe = Recipe(Spectral, RK4, 1 / 200, 64, 64)
    data = frames(equation, n=n, steps=steps, noise=noise, seed=seed)
    return equation, Film(data.u, data.dt, data.h)


def same_names(terms: dict[str, float]) -> dict[str, float]:
    """u*v_x and v_x*u are one monomial."""
    return {"*".join(sorted(name.split("*"))): c for name, c in terms.items()}


def off(found: list[dict[str, float]], true: tuple[dict[str, float], ...]) -> tuple[float, float, float]:
    """The largest error of a coefficient near 1, the largest relative error of a viscosity, the largest other term."""
    transport = viscosity = other = 0.0
    for f, t in zip(map(same_names, found), map(same_names, true), strict=True):
        for name, c in t.items():
            error = abs(f.get(name, 0.0) - c) / abs(c)
            transport, viscosity = (
                (max(transport, error), viscosity) if "*" in name else (transport, max(viscosity, error))
            )
        other = max([other, *(abs(c) for name, c in f.items() if name not in t)])
    return transport, viscosity, other


# ---- in time, at points ----


@pytest.mark.parametrize(("width", "degree"), [(2, 1), (3, 2), (5, 2), (11, 4)])
def test_the_fit_in_time_is_that_of_numpy(width: int, degree: int) -> None:
    u = torch.randn(2, 13, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value, slope = in_time(u, 0.1, width, degree)
    assert value.shape == slope.shape == (2, 14 - width, 1, 2, 2)
    t = 0.1 * np.arange(13)
    for k in range(14 - width):
        middle = t[k : k + width].mean()
        p = np.polynomial.Polynomial.fit(t[k : k + width], u[1, k : k + width, 0, 1, 0].numpy(), degree)
        assert float(value[1, k, 0, 1, 0]) == pytest.approx(p(middle), abs=1e-11)
        assert float(slope[1, k, 0, 1, 0]) == pytest.approx(p.deriv()(middle), abs=1e-10)


def test_two_frames_are_of_second_order_and_eulers_pair_of_first() -> None:
    """u = e^{-t}: the error of u_t + u."""
    for step, first, second in [(0.1, 0.0484, 0.00079), (0.05, 0.0246, 0.0002)]:
        u = torch.exp(-torch.tensor([[0.0, step]], dtype=torch.float64))
        value, slope = in_time(u, step)
        assert float(slope + u[:, :1]) == pytest.approx(first, rel=0.02)  # Euler: u^k for the middle
        assert float(slope + value) == pytest.approx(second, rel=0.03)


def test_the_noise_of_a_quartic_over_eleven_frames() -> None:
    """The variance of u_t in white noise: 2/dt^2 for a quotient, and 33 times less."""
    xi = torch.randn(1, 40000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    quotient, quartic = (float(in_time(xi, 1.0, *fit)[1].var()) for fit in [(2, 1), (11, 4)])
    assert quotient == pytest.approx(2, rel=0.05) and quotient / quartic == pytest.approx(33, rel=0.1)


@pytest.mark.parametrize(("width", "degree"), [(2, 2), (1, 1), (9, 2), (3, 0)])
def test_a_fit_that_cannot_be_is_refused(width: int, degree: int) -> None:
    with pytest.raises(ValueError, match=r"degree d >= 1 in time.*width frames|to `width` frames"):
        in_time(torch.zeros(1, 5, 1, 8, 8), 0.1, width, degree)


def test_the_points_are_those_of_plain_shifts() -> None:
    """All 2 x 6 x 7 points are drawn: the multiset of (neighbourhood, u_t) is that of torch.roll."""
    g = torch.Generator().manual_seed(2)
    u, u_t = (torch.randn(2, 3, 6, 7, generator=g, dtype=torch.float64) for _ in range(2))
    near, right = at_points(u, u_t, 3, 1000, g)
    assert near.shape == (3, 9, 84) and right.shape == (3, 84)
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    rolled = torch.stack([u.roll((-i, -j), (-2, -1)) for i, j in shifts], 1)  # frames, taps, C, N1, N2
    rows = torch.cat([rolled.permute(2, 1, 0, 3, 4).flatten(2), u_t.transpose(0, 1).flatten(1)[:, None]], 1)
    ours = torch.cat([near, right[:, None]], 1)
    key = lambda x: x[0, 4].argsort()  # noqa: E731  the values in the middle are all different
    assert torch.equal(rows[..., key(rows)], ours[..., key(ours)])
    few, _ = at_points(u, u_t, 3, 10, torch.Generator().manual_seed(3))
    assert few.shape == (3, 9, 10) and len(few[0, 4].unique()) == 10


# ---- the equation ----


@pytest.mark.paper("(5.4)")
@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_burgers_is_found(noise: float) -> None:
    """The reach of a live cell is 1 per cent for the transport, 5 for the viscosity; nothing else may be left."""
    for seed in (0, 1):
        equation, data = burgers(noise, seed)
        found = identify(data, seed=seed)
        transport, viscosity, other = off(found.terms(), equation.terms)
        assert transport < 0.005 and viscosity < 0.015 and other == 0
        assert all(0.001 < r < (0.06 if noise else 0.02) for r in found.residual)


@pytest.mark.slow
def test_burgers_is_found_under_noise_of_a_per_cent() -> None:
    equation, data = burgers(0.01, n=8, steps=15)
    eleven = identify(data, N=5, points=20000, moments=1e-5, width=11, time_degree=4)
    two = identify(data, N=5, points=20000, moments=1e-5)
    transport, viscosity, other = off(eleven.terms(), equation.terms)
    assert transport < 0.015 and viscosity < 0.05 and other < 0.01
    assert min(two.residual) > 0.2 > 0.1 > max(eleven.residual)


def test_frozen_one_sided_filters_are_biased() -> None:
    """Of 32 x 32 points the one-sided differences see a viscosity far off; the learned filters find it."""
    equation, data = burgers(0.0)
    coarse = Film(data.u[..., ::2, ::2], data.dt, 2 * data.h)
    frozen = identify(coarse, N=5, accuracy=2, start=upwind, learned=False)
    learned = identify(coarse)
    assert off(frozen.terms(), equation.terms)[1] > 0.25
    assert off(learned.terms(), equation.terms)[0] < 0.02 and off(learned.terms(), equation.terms)[1] < 0.1
    assert not list(frozen.net.F.bank.parameters()) and list(learned.net.F.bank.parameters())


def test_heat_is_found_and_the_net_steps_as_the_equation() -> None:
    """One component, linear: hidden=0 is enough. Ten steps of the net against the exact Fourier solution."""
    equation = Heat(0.1)
    data = frames(equation, n=2, steps=10, grid=64, coarse=32, noise=0.0, max_dt=1 / 400)
    found = identify(data, hidden=0, degree=1, stages=(40, 60, 40))
    (terms,) = found.terms()
    assert terms.keys() == {"u_xx", "u_yy"} and all(c == pytest.approx(0.1, rel=0.02) for c in terms.values())
    assert set(found.polynomial[0].terms(found.names)) <= {"u", "u_x", "u_y", "u_xx", "u_xy", "u_yy"}
    with torch.no_grad():
        end = found.net(data.u[:, 0], 10)
    error = (end - data.u[:, 10]).norm() / (data.u[:, 0] - data.u[:, 10]).norm()
    assert float(error) < 0.03


def test_no_wave_grows_in_the_net_found_for_heat() -> None:
    """The symbol of F by the FFT of a unit pulse. Free filters let k = (16, 16), of which the films know nothing, grow;
    held at their start they do not, and 400 steps end where the exact solution does.
    """
    heat = Heat(0.1)
    data = frames(heat, n=4, steps=10, grid=64, coarse=32, noise=0.001, max_dt=1 / 400, seed=1)

    def symbol(ridge: float) -> tuple[Tensor, Tensor]:
        found = identify(data, hidden=0, degree=1, points=10000, ridge=ridge)
        pulse = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
        pulse[..., 0, 0] = 1
        step = RK4(found.net.F, 0.01)
        with torch.no_grad():
            return torch.fft.fft2(found.net.F(pulse))[0, 0].real, run(step, data.u[:, 0], k=400).u

    free, _ = symbol(0.0)
    held, end = symbol(0.0004)
    assert float(free.max()) == float(free[16, 16]) > 5
    assert float(held.max()) < 1e-9 and float(held[16, 16]) < -5
    true = heat.exact(data.u[:, 0], 4.0)
    assert float((end - true).norm() / (true - true.mean((-2, -1), keepdim=True)).norm()) < 0.1


@pytest.mark.parametrize("weight", [0.0004, 10.0])
def test_a_heavy_ridge_freezes_the_filters(weight: float) -> None:
    _, data = burgers(0.0, n=2, steps=4)
    held = identify(data, points=500, stages=(5, 20, 20), ridge=weight).net.F.bank
    away = held.scaled_taps(data.u).detach() - MomentBank(ORDERS, 7, 3, data.h, learned=False).scaled_taps(data.u)
    assert (float(away.abs().max()) < 1e-3) == (weight > 1)


def test_the_residual_is_what_the_right_hand_side_leaves() -> None:
    _, data = burgers(0.001)
    found = identify(data, points=10**6, stages=(20, 5, 5))
    u, u_t = (f.flatten(0, 1) for f in in_time(data.u, data.dt))
    with torch.no_grad():
        rest = (u_t - found.net.F(u)).square().mean((0, 2, 3)) / u_t.square().mean((0, 2, 3))
    assert found.residual == pytest.approx(rest.sqrt().tolist(), rel=1e-9)


def test_a_dictionary_that_lacks_a_term_shows_in_the_residual() -> None:
    """Without products the transport cannot be said."""
    _, data = burgers(0.0)
    whole, linear = identify(data), identify(data, hidden=0, degree=1, stages=(40, 60, 40))
    assert min(linear.residual) > 0.3 > 0.03 > max(whole.residual)


def test_a_seed_repeats_and_the_data_are_left_alone() -> None:
    _, data = burgers(0.001)
    before = data.u.clone()
    one, two, three = (identify(data, seed=s, stages=(10, 10, 10)) for s in (0, 0, 1))
    assert torch.equal(one.polynomial.coefficients, two.polynomial.coefficients)
    assert one.residual != three.residual and torch.equal(data.u, before)


def test_bad_data_are_refused_in_words() -> None:
    _, data = burgers(0.0)
    with pytest.raises(ValueError, match="finite"):
        identify(data._replace(u=torch.where(data.u > 1, torch.nan, data.u)))
    with pytest.raises(ValueError, match="periodic"):
        identify(data._replace(u=data.u + torch.arange(64.0)))
    with pytest.raises(ValueError, match=r"`width` frames"):
        identify(data._replace(u=data.u[:, :4]), width=5, time_degree=2)


# ---- L-BFGS ----


def test_the_minimum_is_that_of_scipy() -> None:
    from scipy.optimize import minimize, rosen

    x = torch.tensor([-1.2, 1.0, 0.5], dtype=torch.float64, requires_grad=True)
    rosenbrock = lambda: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()  # noqa: E731
    ours = minimise(rosenbrock, [x], 200)
    theirs = minimize(rosen, [-1.2, 1.0, 0.5], method="L-BFGS-B")
    assert np.allclose(x.detach(), theirs.x, atol=1e-4) and ours.loss <= theirs.fun + 1e-9 and ours.finite
    assert ours.loss == pytest.approx(float(rosenbrock().detach())) and ours.evaluations < 401 and x.grad is None


def test_steps_to_where_the_loss_is_no_number_are_taken_back() -> None:
    """x - log x is NaN for x < 0, its least value 1 at x = 1; from 1e-3 a first long step would leave."""
    x = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    calls = []

    def barrier() -> Tensor:
        calls.append(float(x.detach()))
        return (x - x.log()) * 30

    end = minimise(barrier, [x], 100)
    assert end.finite and float(x.detach()) == pytest.approx(1, abs=1e-4) and end.loss == pytest.approx(30)

    y = torch.tensor([2.0, -3.0], requires_grad=True)
    end = minimise(lambda: (y.log()).sum(), [y], 10)
    assert not end.finite and y.tolist() == [2.0, -3.0]


def test_no_iterations_no_change() -> None:
    x = torch.tensor(2.0, requires_grad=True)
    assert minimise(lambda: x**2, [x], 0) == (4.0, 1, True) and float(x.detach()) == 2
