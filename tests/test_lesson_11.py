"""Lesson 11: what its checks say to right and wrong answers, and what its explorers show."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import lognorm

from companion import EMSA, MSA, Control, EulerMaruyama, GatedEuler, ShakeShake, run
from companion.lab import explorers
from companion.lab.exercises import lesson_11 as exercises
from companion.lab.explorers import lesson_11
from tests.verdicts import says


def exact(p: float, dt: float, n: int) -> tuple[float, float]:
    """E X_n^2 and (E X_n)^2, by all 2^n gates."""
    first = second = 0.0
    for gates in itertools.product((0, 1), repeat=n):
        chance = math.prod(p if on else 1 - p for on in gates)
        x = math.prod(1 - dt * on for on in gates)
        first, second = first + chance * x, second + chance * x * x
    return second, first**2


VARIANCES = {
    "right": lambda p, dt, n: exact(p, dt, n)[0] - exact(p, dt, n)[1],
    "the square of the mean is missing": lambda p, dt, n: exact(p, dt, n)[0],
    "standard deviation": lambda p, dt, n: (exact(p, dt, n)[0] - exact(p, dt, n)[1]) ** 0.5,
    "without decay": lambda p, dt, n: n * p * (1 - p) * dt**2,
    "this is (4)": lambda p, dt, n: ((1 - p * dt) ** 2 + p * (1 - p) * dt) ** n - (1 - p * dt) ** (2 * n),
    "n-th powers each": lambda p, dt, n: (p * (1 - p) * dt**2) ** n,
    "sign is reversed": lambda p, dt, n: exact(p, dt, n)[1] - exact(p, dt, n)[0],
    "is 0, to rounding": lambda p, dt, n: (1 - 2 * p * dt + p**2 * dt**2) ** n - (1 - p * dt) ** (2 * n),
    "E eta^2 is p, not 1": lambda p, dt, n: (1 - 2 * p * dt + dt**2) ** n - (1 - p * dt) ** (2 * n),
    "multiplies by 1 - dt eta": lambda p, dt, n: exact(p, -dt, n)[0] - exact(p, -dt, n)[1],
    "less (E X_n)^2": lambda p, dt, n: 0.5,
    "must be a number": lambda p, dt, n: "small",
    "not yet": lambda p, dt, n: ...,
}


@pytest.mark.parametrize("words", VARIANCES)
def test_the_variance(words: str) -> None:
    assert words in says(exercises.variance, VARIANCES[words])


LIMITS = {
    "right": (1, 1, 0.5),
    "the mean of eta remains": (0, 1, 0.5),
    "the variance is": (1, 2, 0.5),
    "root of E eta^2": (1, 2**0.5, 0.5),
    "uniform on [0, 1]": (1, 1 / 12**0.5, 0.5),
    "uniform on [0, 2]": (1, 1 / 3**0.5, 0.5),
    "stochastic depth": (1, 0.5, 0.5),
    "third moments": (1, 1, 1),
    "each of the n": (1, 1, 1.5),
    "the number of steps": (1, 1, 2),
    "the drift is 2": (2, 1, 0.5),
    "3 numbers are asked for": (1, 1),
}


@pytest.mark.parametrize("words", LIMITS)
def test_the_limit_of_another_gate(words: str) -> None:
    assert words in says(exercises.limit, LIMITS[words])


def test_the_sign_of_the_diffusion_is_free() -> None:
    """b = -1 gives the same law; a wrong order is still seen, and so is another diffusion."""
    assert says(exercises.limit, (1, -1, 0.5)) == "right"
    assert "third moments" in says(exercises.limit, (1, -1, 1))
    assert "standard deviation of eta" in says(exercises.limit, (1, 3, 0.5))
    assert "must be a number" in says(exercises.limit, (1, "one", 0.5))


def test_the_exponential_gate_has_order_one_half() -> None:
    """E X^4 on u' = -u from the moments of the gate, E (eta - 1)^j = 1, 0, 1, 2, 9, against the SDE's exp(2)."""
    errors = []
    for n in (4000, 16000):
        dt, c = 1 / n, (1, 0, 1, 2, 9)
        a = 1 - dt
        step = sum(math.comb(4, j) * a ** (4 - j) * (-(dt**0.5)) ** j * c[j] for j in range(5))
        errors.append(abs(step**n - math.exp(-4 + 6)))
    assert math.log2(errors[0] / errors[1]) / 2 == pytest.approx(0.5, abs=0.03)


def backward(slopes: list[float], dPhi: float, dt: float) -> list[float]:
    p = [-dPhi]
    for slope in reversed(slopes):
        p = [p[0] * (1 + dt * slope), *p]
    return p


def folded(end: float, factor: Callable[[float], float], slopes: list[float]) -> list[float]:
    p = [end]
    for slope in reversed(slopes):
        p = [p[0] * factor(slope), *p]
    return p


COSTATES = {
    "right": backward,
    "signs are reversed": lambda s, d, dt: [-v for v in backward(s, d, dt)],
    "list is reversed": lambda s, d, dt: backward(s, d, dt)[::-1],
    "dt is missing": lambda s, d, dt: folded(-d, lambda v: 1 + v, s),
    "the derivative of x is 1": lambda s, d, dt: folded(-d, lambda v: dt * v, s),
    "yet adds": lambda s, d, dt: folded(-d, lambda v: 1 - dt * v, s),
    "multiplied going backwards": lambda s, d, dt: folded(-d, lambda v: 1 / (1 + dt * v), s),
    "not to x_{t+1}": lambda s, d, dt: backward([*s[1:], s[-1]], d, dt),
    "costate of the ODE": lambda s, d, dt: folded(-d, lambda v: math.exp(dt * v), s),
    "p_N is 0": lambda s, d, dt: [0.0] * 4,
    "continues p_{t+1}, not p_N": lambda s, d, dt: [-d * (1 + dt * v) for v in s] + [-d],
    "p_3 is right and p_2 is not": lambda s, d, dt: [*backward(s, d, dt)[:2], 0.0, -d],
    "p_2 is right and p_1 is not": lambda s, d, dt: [0.0, 0.0, *backward(s, d, dt)[2:]],
    "p_1 is right and p_0 is not": lambda s, d, dt: [0.0, *backward(s, d, dt)[1:]],
    "4 numbers are asked for": lambda s, d, dt: backward(s, d, dt)[1:],
    "are numbers": lambda s, d, dt: ["p"] * 4,
}


@pytest.mark.parametrize("words", COSTATES)
def test_the_costates(words: str) -> None:
    assert words in says(exercises.costates, COSTATES[words])


def test_the_right_costates_are_derivatives() -> None:
    """By back-propagation through x + dt f with f = slope x."""
    slopes, dt = [0.5, -1.0, 2.0], 0.25
    x = [torch.tensor(1.0, requires_grad=True)]
    for slope in slopes:
        x.append(x[-1] + dt * slope * x[-1])
        x[-1].retain_grad()
    (3 * x[-1]).backward()
    assert [-float(v.grad) for v in x] == pytest.approx(backward(slopes, 3.0, dt))


COSTS = {
    "right": lambda K, m, n, c: (K + 1, m * (1 + n * c)),
    "exchanged": lambda K, m, n, c: (m * (1 + n * c), K + 1),
    "pass for the weights?": lambda K, m, n, c: (K, m * (1 + n * c)),
    "K + 1": lambda K, m, n, c: (K + 2, m * (1 + n * c)),
    "forwards and backwards together": lambda K, m, n, c: (2 * K + 1, m * (1 + n * c)),
    "each of the m rounds": lambda K, m, n, c: (K + 1, m + n * c),
    "of each round are missing": lambda K, m, n, c: (K + 1, m),
    "m full passes are missing": lambda K, m, n, c: (K + 1, m * n * c),
    "no further one": lambda K, m, n, c: (K + 1, m * (1 + n * c) + 1),
    "touch the first layer only": lambda K, m, n, c: (K + 1, m * n),
    "full pass; count n steps": lambda K, m, n, c: (K + 1, m * (1 + (n + 1) * c)),
    "what is run again for it": lambda K, m, n, c: (K + 1, m * (1 + n * c + c / 2)),
    "all n steps come on top": lambda K, m, n, c: (K + 1, m * (1 + (n - 1) * c)),
    "once, not n times": lambda K, m, n, c: (K + 1, m * n * (1 + c)),
}


@pytest.mark.parametrize("words", COSTS)
def test_the_cost_of_an_attack(words: str) -> None:
    assert words in says(exercises.cost, COSTS[words])


CONTROLS = {
    "right": lambda a, b, s, T: math.log(a / b) - s**2 * T,
    "without noise": lambda a, b, s, T: math.log(a / b),
    "in the exponent": lambda a, b, s, T: math.log(a / b) - s**2 * T / 2,
    "in the median": lambda a, b, s, T: math.log(a / b) + s**2 * T / 2,
    "sign of sigma^2 T": lambda a, b, s, T: math.log(a / b) + s**2 * T,
    "exp(Theta) without noise": lambda a, b, s, T: a / b,
    "T is missing": lambda a, b, s, T: math.log(a / b) - s**2,
    "carries no Ito term": lambda a, b, s, T: math.log(a / b) - 1.5 * s**2 * T,
    "this is exp(Theta)": lambda a, b, s, T: a / b * math.exp(-(s**2) * T),
    "once": lambda a, b, s, T: math.log(a / b) - 2 * s**2 * T,
    "not the reverse": lambda a, b, s, T: math.log(b / a) - s**2 * T,
    "sigma enters squared": lambda a, b, s, T: math.log(a / b) - s * T,
    "its integral": lambda a, b, s, T: (math.log(a / b) - s**2 * T) / T,
    "minimise E(X_T^2)/2": lambda a, b, s, T: 0.123,
}


@pytest.mark.parametrize("words", CONTROLS)
def test_the_control_against_noise(words: str) -> None:
    assert words in says(exercises.control, CONTROLS[words])


def test_the_control_is_the_best_of_many() -> None:
    """E (X_T - y)^2 / 2 by Gauss and Hermite's rule for x = 1, 2, y = 2, 1: least near the right Theta."""
    x, y, sigma, T = np.array([1.0, 2.0]), np.array([2.0, 1.0]), 0.6, 1.5
    xi, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()

    def cost(Theta: float) -> float:
        end = x[:, None] * np.exp(Theta - sigma**2 * T / 2 + sigma * T**0.5 * xi)
        return float((weight * (end - y[:, None]) ** 2).sum(1).mean() / 2)

    best = CONTROLS["right"](float((x * y).mean()), float((x * x).mean()), sigma, T)
    assert all(cost(best) < cost(best + step) for step in (-0.05, -0.01, 0.01, 0.05))


def test_hints_and_praise() -> None:
    for name in ("variance", "limit", "costates", "cost", "control"):
        check = getattr(exercises, name)
        assert len(check.hints) >= 2 and check.praise


# ---- the explorers ----


def number(text: str) -> float:
    return float(text.split()[0].strip(",;"))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("block", lesson_11.BLOCKS)
def test_the_gates_facts_are_those_of_the_package(block: str, scaled: bool) -> None:
    """Mean and deviation of 400 000 draws by GatedEuler and ShakeShake, and the limit by Euler-Maruyama."""
    p, n, draw = 0.7, 10, torch.Generator().manual_seed(0)
    facts = explorers.gate(block=block, scaled=scaled, p=p, n=n)[1]
    step: GatedEuler | ShakeShake
    if block == "stochastic depth":
        step = GatedEuler(lambda u: -u, 1 / n, p, scaled=scaled, generator=draw)
    else:
        step = ShakeShake(lambda u: -2 * u, torch.zeros_like, 1 / n, scaled=scaled, generator=draw)
    end = run([step] * n, torch.ones(400_000, dtype=torch.float64)).u
    assert number(facts["mean"]) == pytest.approx(float(end.mean()), abs=2e-3)
    assert number(facts["deviation of X(1)"]) == pytest.approx(float(end.std()), abs=2e-3)
    fine = run([EulerMaruyama(*step.limit_sde(), 1 / 200, draw)] * 200, torch.ones(100_000, dtype=torch.float64)).u
    assert number(facts["of the limit"]) == pytest.approx(float(fine.std()), abs=4e-3)
    assert ("SDE" in facts["of the limit"]) == scaled


def test_the_gates_paths_have_the_moments_of_its_facts() -> None:
    for block, scaled in itertools.product(lesson_11.BLOCKS, (False, True)):
        end = lesson_11._paths(block, 0.5, 50, scaled, 4000)[:, -1]
        mean, deviation = lesson_11.moments(block, 0.5, 50, scaled)
        assert end.mean() == pytest.approx(mean, abs=5 * deviation / 4000**0.5)
        assert end.std() == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_law_of_the_gate_is_that_of_all_gates(scaled: bool) -> None:
    """Six blocks: the 2^6 products of steps by GatedEuler's two values, and their chances."""
    p, n = 0.3, 6
    x, chance, height = lesson_11.gated(p, n, scaled)
    found = np.zeros(n + 1)
    for gates in itertools.product((0, 1), repeat=n):
        fluctuation = math.sqrt(1 / n) if scaled else 1 / n
        end = math.prod(1 - p / n - fluctuation * (on - p) for on in gates)
        k = int(np.abs(x - end).argmin())
        assert x[k] == pytest.approx(end)
        found[k] += math.prod(p if on else 1 - p for on in gates)
    np.testing.assert_allclose(chance, found, rtol=1e-12)
    assert height[2] == pytest.approx(found[2] / ((x[1] - x[3]) / 2)) and (height > 0).all()


def test_the_law_of_the_scaled_gate_approaches_the_density() -> None:
    """The largest gap between the points and the log-normal density falls with n, and faster where p = 1/2."""
    gap = {}
    for p, n in itertools.product((0.5, 0.8), (16, 64, 256)):
        x, _, height = lesson_11.gated(p, n, True)
        s = math.sqrt(p * (1 - p))
        right = lognorm.pdf(x, s, scale=math.exp(-p - s * s / 2))
        np.testing.assert_allclose(lesson_11.density(x, -p, s), right, rtol=1e-9)
        gap[p, n] = np.abs(height - right).max() / right.max()
    for p in (0.5, 0.8):
        assert gap[p, 16] > 1.7 * gap[p, 64] > 1.7 * 1.7 * gap[p, 256]
    assert gap[0.5, 256] < 0.02 < 0.2 > gap[0.8, 16] > 2 * gap[0.5, 16]


@pytest.mark.parametrize("block", lesson_11.BLOCKS)
def test_nothing_of_the_law_runs_out_of_the_panel(block: str) -> None:
    """The last columns of the right panel show the lines of the axis and of the ODE, and no orange."""
    for scaled, n, p in itertools.product((False, True), (1, 2, 4, 16, 64, 256), (0.05, 0.5, 0.8, 1.0)):
        right = explorers.gate(block=block, scaled=scaled, n=n, p=p)[0][:, -256:]
        for colour in (lesson_11.ORANGE, lesson_11.BAR):
            assert not (right[:, 240:] == colour).all(-1).any(), (scaled, n, p)
        assert (right[:, :240] == (lesson_11.ORANGE if block == "stochastic depth" else lesson_11.BAR)).all(-1).any()


def test_the_bars_have_the_area_one() -> None:
    """Of shake-shake after one block: uniform on [-1, 1], and no bar outside."""
    right = explorers.gate(block="shake-shake", scaled=False, n=1)[0][:, -256:]
    long = (right == lesson_11.BAR).all(-1).sum(1)
    low, high = lesson_11.AXIS["shake-shake"]
    x = high - (np.arange(256) + 0.5) / 256 * (high - low)
    assert (long[np.abs(x) > 1.01] == 0).all()
    inside = long[(np.abs(x) < 0.99) & (long > 0)]
    assert inside.std() < 0.1 * inside.mean()


def test_a_gate_that_is_always_open_is_euler() -> None:
    facts = explorers.gate(p=1.0, n=20)[1]
    assert number(facts["mean"]) == pytest.approx((1 - 1 / 20) ** 20, abs=1e-4)
    assert number(facts["deviation of X(1)"]) == 0 and "no noise left" in facts["of the limit"]


def sine() -> Control:
    s = torch.from_numpy(lesson_11.INPUT)
    x = torch.stack([s / 2, 0 * s], 1)
    phi = lambda x: torch.cat([torch.ones_like(x[:, :1]), x, torch.tanh(2 * x)], 1)  # noqa: E731
    return Control(
        lambda x, theta: phi(x) @ theta.view(2, 5).T,
        lambda x, y: (x[:, 0] - y).square() / 2,
        x,
        torch.sin(s),
        dt=lesson_11.DT,
        running=lambda x, theta: lesson_11.DECAY / 2 * theta.square().sum(),
    )


@pytest.mark.parametrize("rho", [0.0, 2.0, 10.0])
def test_the_explorers_maximum_is_that_of_the_package(rho: float) -> None:
    """The package's augmented Hamiltonian, which is concave here, has the gradient 0 there; and the same loss."""
    problem, theta = sine(), lesson_11.training(10.0)[0][3]
    flat = torch.from_numpy(theta).flatten(1)
    assert float(problem(flat)) == pytest.approx(lesson_11.loss(theta, lesson_11.states(theta)), rel=1e-12)
    method = MSA(problem)
    x, p = (torch.stack(path) for path in problem.paths(flat))
    new = torch.from_numpy(lesson_11.maximised(theta, lesson_11.states(theta), rho)).flatten(1)
    slopes = [
        torch.autograd.grad(method.augmented(x, p, at, rho).sum(), at)[0].abs().max()
        for at in (new.requires_grad_(), flat.clone().requires_grad_())
    ]
    assert slopes[0] < 1e-10 < 1e-4 < slopes[1]
    step = EMSA(problem, rho, newton=True) if rho else MSA(problem, newton=True)
    torch.testing.assert_close(step(flat), new.detach(), rtol=1e-9, atol=1e-9)


def test_the_msa_explorer_tells_what_happens() -> None:
    """rho small: blown up; rho large: never a rise, and slower the larger rho is."""
    assert "blown up" in explorers.msa(rho=0.1, k=60)[1]["loss"]
    facts = {rho: explorers.msa(rho=rho, k=60)[1] for rho in (10.0, 100.0)}
    assert all(text["rounds in which the loss rises"] == "0 of 60" for text in facts.values())
    assert number(facts[10.0]["loss"]) < number(facts[100.0]["loss"]) < lesson_11.training(10.0)[1][0]


def test_round_nought_is_the_start() -> None:
    assert number(explorers.msa(k=0)[1]["loss"]) == pytest.approx(lesson_11.training(3.0)[1][0], rel=5e-3)
