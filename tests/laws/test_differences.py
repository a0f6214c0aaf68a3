"""Finite differences: their formulas, their order of accuracy, summation by parts, what a border does to them."""

from collections.abc import Callable
from math import pi, sin

import pytest
import torch
from torch import Tensor

from companion import Divergence, Gradient, Hessian, SymmetrisedGradient
from companion.operators.grid import BOUNDARIES

BORDERS = pytest.mark.parametrize("boundary", BOUNDARIES)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@BORDERS
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_gradient_is_the_forward_difference_over_h(dim: int, boundary: str) -> None:
    """Component i differentiates along x_i, axis i - d; at the last point it sees the continued picture."""
    u, h = random(2, *(4, 5, 3)[:dim]), 0.25
    D = Gradient(h, dim, boundary)(u)
    assert D.shape == (2, dim, *u.shape[1:])
    for i in range(dim):
        axis = i - dim
        last = u.select(axis, 0 if boundary == "periodic" else -1).unsqueeze(axis)
        exact = torch.cat([u, last], axis).diff(dim=axis) / h
        torch.testing.assert_close(D.select(-dim - 1, i), exact, rtol=1e-13, atol=1e-13)


@BORDERS
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_summation_by_parts(dim: int, boundary: str) -> None:
    """<D u, p> = -<u, div p>."""
    shape = (4, 5, 3)[:dim]
    u, p = random(*shape), random(dim, *shape)
    D, div = Gradient(0.5, dim, boundary), Divergence(0.5, dim, boundary)
    torch.testing.assert_close((D(u) * p).sum(), -(u * div(p)).sum(), rtol=1e-12, atol=1e-12)
    assert torch.equal(div(p), -D.T(p))


@BORDERS
def test_no_flux_leaves_through_the_border(boundary: str) -> None:
    """The divergence has mean 0: a diffusion written with it conserves the grey value."""
    assert Divergence(0.3, 2, boundary)(random(2, 6, 7)).sum().abs() < 1e-12


def test_the_laplacian_is_the_divergence_of_the_gradient() -> None:
    """div D u = (u[n+1] - 2 u[n] + u[n-1]) / h^2 summed over the axes; the border reflects."""
    u, h = random(5, 6), 0.5
    wide = torch.nn.functional.pad(u[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    exact = (wide[2:, 1:-1] + wide[:-2, 1:-1] + wide[1:-1, 2:] + wide[1:-1, :-2] - 4 * u) / h**2
    found = Divergence(h)(Gradient(h)(u))
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)
    trace = Hessian(h)(u).diagonal(dim1=0, dim2=1).sum(-1)
    torch.testing.assert_close(trace, exact, rtol=0, atol=1e-12)


@BORDERS
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_constants_have_no_derivatives(dim: int, boundary: str) -> None:
    u = torch.full((4, 5, 3)[:dim], 0.7, dtype=torch.float64)
    for A in (Gradient(0.1, dim, boundary), Hessian(0.1, dim, boundary)):
        assert A(u).abs().max() < 1e-11


@BORDERS
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_symmetrised_derivatives_are_symmetric(dim: int, boundary: str) -> None:
    shape = (4, 5, 3)[:dim]
    E, H, D = (kind(0.5, dim, boundary) for kind in (SymmetrisedGradient, Hessian, Gradient))
    u, p = random(*shape), random(dim, *shape)
    assert torch.equal(E(p), E(p).transpose(0, 1))
    assert torch.equal(H(u), E(D(u)))
    s = random(dim, dim, *shape)
    torch.testing.assert_close(E.T(s), E.T(s.transpose(0, 1)), rtol=0, atol=1e-13)


def test_a_rotation_has_no_symmetrised_gradient() -> None:
    """E p = 0 inside for the rigid motion p = (x_2, -x_1): what TGV leaves free."""
    x = torch.arange(6, dtype=torch.float64)
    p = torch.stack([x[None, :].expand(6, 6), -x[:, None].expand(6, 6)])
    E = SymmetrisedGradient(1.0)(p)
    assert E[..., 1:-1, 1:-1].abs().max() < 1e-14
    assert Gradient(1.0)(p).abs().max() > 0.5


@pytest.mark.paper("Prop 4.1")
@pytest.mark.parametrize(
    ("A", "component", "derivative", "order"),
    [
        (Gradient, (0,), lambda x, y: 2 * pi * torch.cos(2 * pi * x) * torch.cos(2 * pi * y), 1),
        (Gradient, (1,), lambda x, y: -2 * pi * torch.sin(2 * pi * x) * torch.sin(2 * pi * y), 1),
        (Hessian, (0, 0), lambda x, y: -4 * pi**2 * torch.sin(2 * pi * x) * torch.cos(2 * pi * y), 2),
        (Hessian, (1, 1), lambda x, y: -4 * pi**2 * torch.sin(2 * pi * x) * torch.cos(2 * pi * y), 2),
        (Hessian, (0, 1), lambda x, y: -4 * pi**2 * torch.cos(2 * pi * x) * torch.sin(2 * pi * y), 2),
    ],
    ids=["d1", "d2", "d11", "d22", "d12"],
)
def test_the_order_of_accuracy(A, component, derivative: Callable[[Tensor, Tensor], Tensor], order: int) -> None:
    """u = sin(2 pi x) cos(2 pi y) on the periodic unit square: the slope of the error is the order, within 0.1."""
    errors = []
    for N in (32, 64):
        x, y = torch.meshgrid(*[torch.arange(N, dtype=torch.float64) / N] * 2, indexing="ij")
        u = torch.sin(2 * pi * x) * torch.cos(2 * pi * y)
        errors.append((A(1 / N, 2, "periodic")(u)[component] - derivative(x, y)).abs().max().log2())
    assert abs(float(errors[0] - errors[1]) - order) < 0.1


@pytest.mark.parametrize("dim", [1, 2])
def test_the_norm_of_the_gradient(dim: int) -> None:
    """||D||^2 = (4 d / h^2) sin^2(pi/2 (1 - 1/N)) on N points that reflect: below 4 d / h^2, and close to it."""
    N, h = 12, 0.5
    exact = (4 * dim / h**2) ** 0.5 * sin(pi / 2 * (1 - 1 / N))
    found = Gradient(h, dim).norm(random(*[N] * dim)).item()
    assert found == pytest.approx(exact, rel=1e-3)
    assert found < (4 * dim / h**2) ** 0.5
