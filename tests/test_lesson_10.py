"""Lesson 10: what its checks say to right and wrong answers, and what its explorers show."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import companion as co
from companion import run
from companion.lab import explorers
from companion.lab.exercises import lesson_10 as exercises
from companion.lab.explorers import lesson_10
from tests.verdicts import says


def undone(F: Callable, G: Callable, dt: float, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    b = b - dt * G(a)
    return a - dt * F(b), b


def in_order(F: Callable, G: Callable, dt: float, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    a = a - dt * F(b)
    return a, b - dt * G(a)


def forward(F: Callable, G: Callable, dt: float, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    a = a + dt * F(b)
    return a, b + dt * G(a)


INVERSES = {
    "right": undone,
    "return (a, b)": lambda *p: undone(*p)[::-1],
    "undo the last one first": in_order,
    "a' was made with b": lambda F, G, dt, a, b: (a - dt * F(b), b - dt * G(a)),
    "another step forward": forward,
    "right for dt = 1 only": lambda F, G, dt, a, b: undone(F, G, 1.0, a, b),
    "the signs are not": lambda F, G, dt, a, b: undone(F, G, -dt, a, b),
    "2 numbers are asked for": lambda F, G, dt, a, b: (a, b, a),
    "tensors of the shapes": lambda F, G, dt, a, b: (1.0, 2.0),
    "b differs from the right one": lambda F, G, dt, a, b: (a, b),
    "not yet": lambda F, G, dt, a, b: ...,
}


@pytest.mark.parametrize("words", INVERSES)
def test_the_inverse(words: str) -> None:
    assert words in says(exercises.inverse, INVERSES[words])


COEFFICIENTS = {
    "right": lambda theta: (1 - 2 * theta) / 2,
    "its sign changes": lambda theta: theta - 0.5,
    "the inner step matters": lambda theta: 0.5,
    "against 1 and not against 1/2": lambda theta: 1 - theta,
    "twice what it must be": lambda theta: 1 - 2 * theta,
    "coefficient in R": lambda theta: theta,
    "check the sign of theta": lambda theta: 0.5 + theta,
    "of order 2, c must vanish": lambda theta: (1 - theta) / 2,
    "log R(dt lambda)": lambda theta: 7.0,
    "must be a number": lambda theta: "half",
    "not yet": lambda theta: ...,
}


@pytest.mark.parametrize("words", COEFFICIENTS)
def test_the_coefficient(words: str) -> None:
    assert words in says(exercises.coefficient, COEFFICIENTS[words])


@pytest.mark.parametrize("theta", [0.0, 0.2, 0.5, 1.0])
def test_the_coefficient_is_that_of_the_scheme(theta: float) -> None:
    """The slow root of m + c dt m^2 = lambda meets log R/dt to second order in dt exactly for c = 1/2 - theta."""
    lam, c = -1.3, 0.5 - theta
    gap = []
    for dt in (0.02, 0.01):
        z = dt * lam
        m = math.log(1 + z + theta * z**2) / dt
        slow = lam if c == 0 else (-1 + math.sqrt(1 + 4 * c * dt * lam)) / (2 * c * dt)
        gap.append(abs(m - slow))
    assert 1.8 < math.log2(gap[0] / gap[1]) < 2.3


MEMORIES = {
    "right": (-0.5, 1.0, 1.5),
    "this is the end for u^{k-1}": (-1.0, 1.0, 1.5),
    "the sign: negative b": (0.5, 1.0, 1.5),
    "b = -0.2 is stable": (0.0, 1.0, 1.5),
    "|b| <= 1 + b ends": (-0.25, 1.0, 1.5),
    "put r = 1 into": (-0.4, 1.0, 1.5),
    "the modulus 0.84": (-0.5, 0.5, 1.5),
    "product of the two other roots": (-0.5, 2.0, 1.5),
    "up to here the two other roots are conjugate": (-0.5, 4.0, 1.5),
    "the order: b_1 < b_2": (1.0, -0.5, 1.5),
    "this is 1 + b": (-0.5, 1.0, 1.25),
    "stands on the left": (-0.5, 1.0, 0.5),
    "the sign and the distance": (-0.5, 1.0, 0.75),
    "is not 0 to first order": (-0.5, 1.0, 1.0),
    "this is c at b = 1/2": (-0.5, 1.0, 2.0),
    "upside down": (-0.5, 1.0, 2 / 3),
    "3 numbers are asked for": (-0.5, 1.0),
}


@pytest.mark.parametrize("words", MEMORIES)
def test_the_memory(words: str) -> None:
    assert words in says(exercises.memory, MEMORIES[words])


def test_the_memory_by_iteration() -> None:
    """F = 0: bounded inside the interval and at its upper end, not beyond, and growing like k at the lower end."""

    def size(b: float, k: int) -> float:
        u = [0.0, 0.0, 1.0]
        for _ in range(k):
            u.append((1 - b) * u[-1] + b * u[-3])
        return max(map(abs, u[-3:]))

    assert all(size(b, 4000) < 11 for b in (-0.45, 0.0, 0.9, 1.0))
    assert size(-0.55, 1000) > 1e6 and size(1.05, 1000) > 1e6
    assert 1.8 < size(-0.5, 2000) / size(-0.5, 1000) < 2.2


MOMENTA = {
    "right": lambda kappa: -((1 - kappa**-0.5) ** 2),
    "alpha > 0 is friction": lambda kappa: (1 - kappa**-0.5) ** 2,
    "this is minus the factor per layer": lambda kappa: -(1 - kappa**-0.5),
    "this is Polyak's": lambda kappa: -(((kappa**0.5 - 1) / (kappa**0.5 + 1)) ** 2),
    "this is Nesterov's": lambda kappa: -(kappa**0.5 - 1) / (kappa**0.5 + 1),
    "kappa for its square root": lambda kappa: -((1 - 1 / kappa) ** 2),
    "the friction of the equation": lambda kappa: -(1 - 2 * kappa**-0.5),
    "Factor per layer 0.9900, best 0.9000": lambda kappa: 0.0,
    "not yet": lambda kappa: ...,
}


@pytest.mark.parametrize("words", MOMENTA)
def test_the_momentum(words: str) -> None:
    assert words in says(exercises.momentum, MOMENTA[words])


def test_the_momentum_is_best() -> None:
    """By the companion matrices of 200 modes: no other of 400 momenta is faster."""
    kappa, s = 50.0, np.geomspace(1 / 50, 1, 200)

    def radius(alpha: float) -> float:
        M = np.zeros((len(s), 2, 2))
        M[:, 0, 0], M[:, 0, 1], M[:, 1, 0] = 1 - alpha - s, alpha, 1
        return float(np.abs(np.linalg.eigvals(M)).max())

    best = radius(-((1 - kappa**-0.5) ** 2))
    assert abs(best - (1 - kappa**-0.5)) < 1e-6
    assert min(radius(a) for a in np.linspace(-0.99, 0.5, 400)) >= best - 1e-9


BLOCKS = {
    "right": lambda F, dt, u: u + dt * F(u + dt * F(u + dt * F(u))),
    "F is evaluated 4 times": lambda F, dt, u: u + dt * F(u + dt * F(u + dt * F(u + dt * F(u)))),
    "put it in once more": lambda F, dt, u: u + dt * F(u + dt * F(u)),
    "no better than u + dt F(u)": lambda F, dt, u: u + dt * F(u),
    "Powers of F are for linear F": lambda F, dt, u: u + dt * F(u) + dt * F(dt * F(u)),
    "worse than u + dt F(u)": lambda F, dt, u: u + dt * F(u) / 2,
    "does every F have its dt": lambda F, dt, u: u + F(u + F(u + F(u))),
    "a tensor of shape": lambda F, dt, u: 3.0,
    "not yet": lambda F, dt, u: ...,
}


@pytest.mark.parametrize("words", BLOCKS)
def test_the_block(words: str) -> None:
    assert words in says(exercises.block, BLOCKS[words])


def test_a_block_solved_to_the_end_takes_too_many() -> None:
    def solved(F: Callable, dt: float, u: Tensor) -> Tensor:
        v = u
        for _ in range(101):
            v = u + dt * F(v)
        return v

    assert "F is evaluated 101 times" in says(exercises.block, solved)


def test_hints_and_praise() -> None:
    for check in (
        exercises.inverse,
        exercises.coefficient,
        exercises.memory,
        exercises.momentum,
        exercises.block,
    ):
        assert len(check.hints) >= 2 and check.praise


# ---- the explorers ----


def number(text: str) -> float:
    return float(text.split()[-1])


MAKE = {
    "ResNet": co.Euler,
    "LM-ResNet": lambda F, dt: co.TwoStep(F, dt, -0.5),
    "PolyNet": co.Neumann,
    "FractalNet": co.Fractal,
    "implicit skip": co.Implicit,
    "neural ODE, RK4": co.RK4,
}


@pytest.mark.parametrize("name", MAKE)
def test_the_stability_explorers_factor_is_the_schemes(name: str) -> None:
    """Against R measured by one step of the package's scheme, at points all over the plane."""
    z = torch.complex(*torch.meshgrid(torch.linspace(-8.0, 0.9, 9), torch.linspace(-3.0, 3.0, 7), indexing="ij"))
    measured = co.stability_function(MAKE[name])(z.to(torch.complex128)).abs().numpy()
    assert np.abs(lesson_10.growth(name, -0.5, z.numpy()) / measured - 1).max() < 1e-5
    told = explorers.stability(architecture=name, alpha=-0.5, re=-0.7, im=0.4)[1]["a layer"]
    expected = float(co.stability_function(MAKE[name])(torch.tensor([-0.7 + 0.4j], dtype=torch.complex128)).abs())
    assert number(told) == pytest.approx(expected, abs=6e-4)
    assert told.startswith("stretches") == (expected > 1)


def test_the_stability_explorer_of_revnet() -> None:
    """The eigenvalues of the step on the pair; it is stable on i [-2, 2] alone."""
    for z in (1.9j, 2.1j, 0.3 + 1j, -0.5 + 0j):
        M = np.array([[1, z], [z, 1 + z * z]])
        assert lesson_10.growth("RevNet", 0.0, np.asarray(z)).item() == pytest.approx(
            np.abs(np.linalg.eigvals(M)).max()
        )
    stretches = [explorers.stability(architecture="RevNet", re=0.0, im=im)[1]["a layer"][:9] for im in (1.9, 2.1)]
    assert stretches == ["does not ", "stretches"]


@pytest.mark.parametrize("name", ["ResNet", "LM-ResNet"])
def test_the_stability_explorers_orbit_is_that_of_run(name: str) -> None:
    z = -0.6 + 0.5j
    turn = torch.tensor([[z.real, -z.imag], [z.imag, z.real]], dtype=torch.float64)
    end = run(MAKE[name](lambda u: turn @ u, 1.0), torch.tensor([1.0, 0.0], dtype=torch.float64), k=7).u
    assert abs(lesson_10.orbit(name, -0.5, z, 7)[-1] - complex(*end.tolist())) < 1e-12


def test_the_stability_explorers_region_is_an_ellipse_for_lm_resnet() -> None:
    """Half axes 1 - alpha and 1 + alpha, touching the imaginary axis at 0."""
    for alpha in (-0.8, -0.3, 0.5):
        phi = np.linspace(0.3, 6.0, 9)
        for scale, stable in ((0.99, True), (1.01, False)):
            z = (1 - alpha) * (scale * np.cos(phi) - 1) + 1j * scale * (1 + alpha) * np.sin(phi)
            assert ((lesson_10.growth("LM-ResNet", alpha, z) <= 1) == stable).all()


def test_the_depth_explorer_converges_with_smooth_weights_only() -> None:
    def distance(weights: str, scheme: str, layers: int) -> float:
        return number(explorers.depth(weights=weights, scheme=scheme, layers=layers, T=2.0)[1]["distance of the two"])

    smooth, independent, random = lesson_10.WEIGHTS
    orders = [math.log2(distance(smooth, s, 16) / distance(smooth, s, 32)) for s in lesson_10.SCHEMES]
    assert abs(orders[0] - 1) < 0.2 and abs(orders[1] - 2) < 0.4 and orders[2] > 3.3
    assert distance(independent, "RK4", 64) > 0.05 and distance(random, "RK4", 64) > 0.5


def test_the_depth_explorer_sees_cells_turned_over() -> None:
    """A few layers fold the net, many do not: dt times the Lipschitz constant of F is then below 1."""
    folded = {n: explorers.depth(layers=n)[1]["turned over"].split(" and ") for n in (1, 16)}
    assert float(folded[1][0].split()[0]) > 20 and float(folded[16][0].split()[0]) == 0
    mesh = lesson_10._mesh()
    assert (lesson_10.areas(mesh) > 0).all() and (lesson_10.areas(mesh[::-1]) < 0).all()
    assert (explorers.depth(layers=1)[0] == np.array(lesson_10.ORANGE)).all(-1).any()


def test_the_depth_explorer_steps_as_the_package_does() -> None:
    """Its layers against Euler, Heun, RK4 of the package with the same field."""
    F, u = lesson_10.fields("smooth in t", 6), lesson_10._mesh()[::10, ::10]
    for name, scheme in zip(lesson_10.SCHEMES, (co.Euler, co.Heun, co.RK4), strict=True):
        field = lambda v, t: torch.from_numpy(F(v.numpy(), t))  # noqa: E731
        end = run([scheme(field, 1 / 6, t=k / 6) for k in range(6)], torch.from_numpy(u.copy())).u
        assert np.abs(lesson_10.carried(u, F, name, 1 / 6, 6) - end.numpy()).max() < 1e-12
