"""Pointwise differences: their order, their borders, minmod and the square root."""

import math

import pytest
import torch
from torch import Tensor

from companion.operators.derivatives import central, check_grid_step, minmod, root, second


def grid(n: int) -> Tensor:
    g = torch.arange(n, dtype=torch.float64) / n
    return torch.stack(torch.meshgrid(g, g, indexing="ij"))


@pytest.mark.parametrize("indices", [(0,), (1,), (0, 0), (1, 1), (0, 1), (1, 0)])
def test_differences_are_of_second_order(indices: tuple[int, ...]) -> None:
    """u = sin(2 x_1 + 3 x_2): each derivative turns the phase by 90 degrees and multiplies by 2 or 3."""
    errors = []
    for n in (32, 64):
        phase = 2 * grid(n)[0] + 3 * grid(n)[1]
        exact = math.prod((2, 3)[i] for i in indices) * (phase + len(indices) * math.pi / 2).sin()
        u = phase.sin()
        d = central(u, *indices, h=1 / n) if len(indices) == 1 else second(u, *indices, h=1 / n)
        errors.append(float((d - exact)[3:-3, 3:-3].abs().max()))
    assert errors[1] < 0.01 and 1.9 < math.log2(errors[0] / errors[1]) < 2.1


def test_axes_borders_and_the_grid_step() -> None:
    """u[-1] = u[0] where it reflects, u[-1] = u[N - 1] where it is periodic; i = 0 is the axis -dim."""
    u = torch.tensor([0.0, 1, 4, 9, 25], dtype=torch.float64)
    torch.testing.assert_close(central(u, 0, 0.5, 1), torch.tensor([1.0, 4, 8, 21, 16]).double())
    torch.testing.assert_close(central(u, 0, 1.0, 1, "periodic"), torch.tensor([-12.0, 2, 4, 10.5, -4.5]).double())
    torch.testing.assert_close(second(u, 0, 0, 0.5, 1), torch.tensor([4.0, 8, 8, 44, -64]).double())
    v = torch.rand(2, 4, 5, 6, dtype=torch.float64)
    for dim in (1, 2, 3):
        for i in range(dim):
            turned = v.movedim(i - dim, -1)
            torch.testing.assert_close(central(v, i, 1.0, dim).movedim(i - dim, -1), central(turned, 0, 1.0, 1))
            torch.testing.assert_close(second(v, i, i, 1.0, dim).movedim(i - dim, -1), second(turned, 0, 0, 1.0, 1))
    torch.testing.assert_close(second(v, 0, 1), central(central(v, 0), 1))


def test_minmod_by_its_definition() -> None:
    a, b = torch.randn(2, 500, dtype=torch.float64)
    expected = torch.where(a * b > 0, a.sign() * torch.minimum(a.abs(), b.abs()), 0.0)
    torch.testing.assert_close(minmod(a, b), expected, rtol=0, atol=0)
    torch.testing.assert_close(minmod(a, b), minmod(b, a), rtol=0, atol=0)
    torch.testing.assert_close(minmod(-a, -b), -minmod(a, b), rtol=0, atol=0)


def test_the_root_has_a_derivative_at_zero() -> None:
    s = torch.tensor([0.0, 4.0, 9.0], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(root(s), torch.tensor([0.0, 2, 3], dtype=torch.float64))
    root(s).sum().backward()
    torch.testing.assert_close(s.grad, torch.tensor([0.0, 1 / 4, 1 / 6], dtype=torch.float64))


def test_a_grid_step_is_a_length() -> None:
    for h in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="length > 0"):
            check_grid_step(h)
    check_grid_step(0.5)
