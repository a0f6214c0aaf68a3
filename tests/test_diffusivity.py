"""(3.3): the conditions on g one by one; K in closed form and by bisection; g + 2 s g' as derivative of the flux."""

import math
from collections.abc import Callable

import pytest
import scipy.optimize
import sympy
import torch
from torch import Tensor, nn

from companion import (
    Charbonnier,
    Diffusivity,
    Exponential,
    FastDecay,
    PeronaMalik,
    Rational,
    Regularised,
    TVFlow,
    check_diffusivity,
    flux,
    normal_diffusivity,
)

paper = pytest.mark.paper("(3.3)")

WITH_K: list[tuple[Diffusivity, float]] = [
    (Exponential(0.7), 0.49),
    (Exponential(20.0), 400.0),
    (Rational(0.3), 0.09),
    (Rational(2.0, 2.0), math.sqrt(4 / 3)),
    (Rational(5.0, 0.8), (25 / 0.6) ** 1.25),
    (FastDecay(0.3), 0.09),
]
WITHOUT_K: list[Diffusivity] = [Charbonnier(0.7), Regularised(1.0)]
LINE = torch.logspace(-6, 6, 400, dtype=torch.float64)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


# ---- the diffusivity --------------------------------------------------------------------------------------------


@paper
@pytest.mark.parametrize(("g", "K"), WITH_K, ids=str)
def test_33_the_conditions_and_the_threshold_in_closed_form(g: Diffusivity, K: float) -> None:
    """g(0) = 1, g > 0, falling to 0; g + 2 s g' > 0 below K, < 0 above, and 0 at K, where (3.3) prints > 0."""
    assert g.threshold == pytest.approx(K, rel=1e-12)
    assert check_diffusivity(g) == pytest.approx(K, rel=1e-9)
    zero = torch.zeros(1, dtype=torch.float64)
    assert float(g(zero)) == 1
    values = g(K * LINE)
    assert (values.diff() <= 0).all() and values.min() >= 0 and float(values[-1]) < 0.01
    below, above = normal_diffusivity(g, K * LINE[LINE < 0.999]), normal_diffusivity(g, K * LINE[LINE > 1.001])
    assert (below > 0).all() and (above <= 1e-300).all() and above[0] < 0
    assert abs(float(normal_diffusivity(g, torch.tensor([K], dtype=torch.float64)))) < 1e-12


@paper
@pytest.mark.parametrize("g", WITHOUT_K, ids=str)
def test_a_flux_that_never_falls_has_no_threshold(g: Diffusivity) -> None:
    assert g.threshold == math.inf == check_diffusivity(g)
    assert (normal_diffusivity(g, LINE) > 0).all()
    assert (flux(g, LINE).diff() > 0).all()


@pytest.mark.parametrize("g", [g for g, _ in WITH_K] + [*WITHOUT_K, Regularised(0.2)], ids=str)
def test_the_derivative_of_a_diffusivity(g: Diffusivity) -> None:
    """In closed form or by torch, against differences; the flux's derivative at sqrt s is g + 2 s g'."""
    s = torch.logspace(-2, 1.5, 40, dtype=torch.float64)
    step = 1e-5 * s
    torch.testing.assert_close(g.derivative(s), (g(s + step) - g(s - step)) / (2 * step), rtol=1e-5, atol=1e-8)
    r = s.sqrt()
    slope = (flux(g, r * (1 + 1e-5)) - flux(g, r * (1 - 1e-5))) / (2e-5 * r)
    torch.testing.assert_close(normal_diffusivity(g, s), slope, rtol=1e-5, atol=1e-7)
    s = s.requires_grad_()
    assert torch.autograd.gradcheck(g, (s,), fast_mode=True)


def test_the_derivative_at_0_is_finite_to_autograd() -> None:
    """... although that of 1 / (1 + s^p) is minus infinity for p < 1."""
    for g in (Rational(1.0, 0.75), Rational(1.0), FastDecay(1.0), Exponential(1.0)):
        s = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(g(s).sum(), s)
        assert slope.isfinite().all()
    assert Rational(1.0, 0.75).derivative(torch.zeros(1, dtype=torch.float64)).item() == -math.inf
    assert normal_diffusivity(Rational(1.0, 0.75), torch.zeros(1, dtype=torch.float64)).item() == 1


def test_the_constant_of_fast_decay() -> None:
    """g + 2 s g' = 0 at s = contrast^2 iff e^C = 1 + 8 C."""
    C = scipy.optimize.brentq(lambda c: math.exp(c) - 1 - 8 * c, 1, 5, xtol=1e-14)
    assert pytest.approx(C, abs=1e-12) == FastDecay.C
    g = FastDecay(2.0)
    assert float(g(torch.tensor([0.1], dtype=torch.float64))) == 1
    far = torch.tensor([1e4], dtype=torch.float64)
    assert float(g(far)) == pytest.approx(C / (1e4 / 4) ** 4, rel=1e-6)


def test_charbonnier_is_regularised_in_another_unit_of_time() -> None:
    torch.testing.assert_close(Charbonnier(0.3)(LINE), 0.3 * Regularised(0.3)(LINE))


@paper
def test_33_the_user_g_against_the_closed_form() -> None:
    """K of one's own g by bisection: 1/(2p - 1) for (1 + s)^-p, and a rational function by SymPy."""
    for p in (0.75, 1.0, 3.0):
        assert check_diffusivity(lambda s, p=p: (1 + s) ** -p) == pytest.approx(1 / (2 * p - 1), rel=1e-10)
    x = sympy.symbols("x", positive=True)
    g = 1 / (1 + x / 4 + x**2 / 9)
    (K,) = [r for r in sympy.Poly(sympy.numer(sympy.together(g + 2 * x * sympy.diff(g, x))), x).nroots() if r > 0]
    assert check_diffusivity(lambda s: 1 / (1 + s / 4 + s**2 / 9)) == pytest.approx(float(K), rel=1e-10)
    F = PeronaMalik(lambda s: torch.exp(-s / 2))
    assert F.threshold == pytest.approx(1.0) and PeronaMalik(Exponential(1.0)).threshold == 1


VIOLATIONS: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (lambda s: 2 / (1 + s), r"g\(0\) = 1.*g\(0\) = 2"),
    (lambda s: 1 / s, r"g\(0\) = 1.*g\(0\) = inf"),
    (lambda s: 1 - s, r"g > 0 everywhere; got g\(1"),
    (lambda s: torch.relu(1 - s), r"g > 0 everywhere; got g\(1"),
    (lambda s: torch.exp(-s) * torch.cos(s), "g > 0 everywhere"),
    (lambda s: 1 + s, "decreasing g"),
    (lambda s: (1 + 0.1 * torch.sin(s)) / (1 + s), "decreasing g"),
    (lambda s: 0.5 + 0.5 / (1 + s), r"g\(s\) -> 0 as s -> infinity; got g\(1e\+30\) = 0.5"),
    (torch.ones_like, "g\\(s\\) -> 0"),
    (lambda s: 0.9 * torch.exp(-s) + 0.1 * torch.exp(-s / 1e4), "one threshold K"),
    (lambda s: 0.9 * torch.exp(-s) + 0.1 * (1 + s) ** -0.2, "one threshold K"),
    (lambda s: torch.ones(3), "entry by entry"),
    (lambda s: (1 / (1 + s)).sum(), "entry by entry"),
]


@paper
@pytest.mark.parametrize(("g", "message"), VIOLATIONS, ids=range(len(VIOLATIONS)))
def test_33_each_violation_is_refused(g: Callable[[Tensor], Tensor], message: str) -> None:
    for asked in (check_diffusivity, PeronaMalik):
        with pytest.raises(ValueError, match=message):
            asked(g)


def test_parameters_of_diffusivities_are_positive_and_p_above_a_half() -> None:
    for make in (Exponential, Rational, FastDecay, Charbonnier, Regularised, lambda x: TVFlow(eps=x)):
        for bad in (0.0, -1.0, math.inf, math.nan):
            with pytest.raises(ValueError, match="of a diffusivity is a finite number > 0"):
                make(bad)
    for p in (0.5, 0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match="p > 1/2"):
            Rational(1.0, p)
    assert check_diffusivity(lambda s: 1 / (1 + s.sqrt())) == math.inf  # p = 1/2: the flux tends to 1


def test_a_learned_diffusivity_has_a_buffer_for_a_parameter() -> None:
    g = Exponential(1.0)
    g.sigma = nn.Parameter(torch.tensor(1.3, dtype=torch.float64))
    F = PeronaMalik(g)
    F(random(4, 5)).square().sum().backward()
    assert g.sigma.grad is not None and g.sigma.grad.isfinite() and g.sigma.grad != 0
    assert F.threshold == pytest.approx(1.69) and F.max_dt == 0.25
