"""The loops of the edge stencils equal the readable form: thin tensors, batches, types; bad tensors are still named."""

import pytest
import torch
from torch import Tensor

from companion import CoherenceEnhancing, EdgeEnhancing, Euler, FastDecay, Selling, ThreeByThree, run
from companion.kernels import use

pytest.importorskip("numba")

TYPES = pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
STENCILS = pytest.mark.parametrize("stencil", [Selling(), ThreeByThree()], ids=repr)


def tensors(condition: float, *shape: int) -> Tensor:
    """t t^T + n n^T / condition in random directions, times a number in [0, 1]."""
    angle, size = 7 * torch.rand(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
    t = torch.stack([angle.cos(), angle.sin()], -3)
    n = torch.stack([-angle.sin(), angle.cos()], -3)
    outer = [v.unsqueeze(-3) * v.unsqueeze(-4) for v in (t, n)]
    return size[..., None, None, :, :] * (outer[0] + outer[1] / condition)


@STENCILS
@TYPES
@pytest.mark.parametrize("condition", [1.0, 5.0, 1e3, 1e9])
def test_the_loops_are_the_stencil(stencil: Selling, condition: float, dtype: torch.dtype, tol: float) -> None:
    """From discs to needles, thinner than the thinnest; where many edges meet at one pixel too."""
    for shape in ((1, 1), (1, 5), (9, 8), (2, 3, 6, 7)):
        D, u = tensors(condition, *shape).to(dtype), torch.randn(*shape, dtype=dtype)
        with use(False):
            expected = stencil.divergence(D, u, 0.5)
        with use(True):
            assert stencil._fused(D, u, 0.5) is not None
            out = stencil.divergence(D, u, 0.5)
        slack = tol * max(1.0, min(condition, 1e6) / 1e4)  # what cancels in <v, D w> of long v and w
        torch.testing.assert_close(out, expected, rtol=0, atol=slack * max(1, float(expected.abs().max())))
        torch.testing.assert_close(out.sum(), torch.zeros((), dtype=dtype), rtol=0, atol=1e3 * tol)


def test_weights_are_reduced_by_the_loop_too() -> None:
    """Needles that all point at one pixel: the total weight there would exceed the ceiling."""
    x = torch.arange(33, dtype=torch.float64) - 16
    t = torch.stack(torch.meshgrid(x, x, indexing="ij"))
    t = t / t.square().sum(0, keepdim=True).clamp_min(1).sqrt()
    D = t.unsqueeze(0) * t.unsqueeze(1) + 1e-3 * torch.eye(2, dtype=torch.float64)[..., None, None]
    D = D / 1.001
    assert Selling().excess(D) > 0
    point = torch.zeros(33, 33, dtype=torch.float64)
    point[16, 16] = 1  # an explicit step leaves 1 - limit W of it
    for u in (torch.rand(33, 33, dtype=torch.float64), point):
        with use(False):
            expected = Selling().divergence(D, u, 1.0)
        with use(True):
            flow = Selling().divergence(D, u, 1.0)
        torch.testing.assert_close(flow, expected, rtol=0, atol=1e-12)
        out = u + Selling.limit * flow
        assert u.min() - 1e-12 <= out.min() and out.max() <= u.max() + 1e-12


@pytest.mark.parametrize("F", [EdgeEnhancing(FastDecay(0.2), 0.7), CoherenceEnhancing(0.1, rho=2.0)], ids=repr)
def test_weickerts_flows_are_the_same(F: EdgeEnhancing) -> None:
    u = torch.rand(2, 12, 11, dtype=torch.float64)
    with use(False):
        expected = run(Euler(F, F.max_dt), u, k=3).u
    with use(True):
        torch.testing.assert_close(run(Euler(F, F.max_dt), u, k=3).u, expected, rtol=0, atol=1e-12)


def test_a_tensor_that_is_none_is_still_named() -> None:
    D, u = tensors(2.0, 4, 4), torch.rand(4, 4, dtype=torch.float64)
    with use(True), pytest.raises(ValueError, match="eigenvalues >= 0"):
        Selling().divergence(-D, u, 1.0)
    D[..., 2, 2] = torch.nan
    with use(True):
        assert Selling()._fused(D, u, 1.0) is None and ThreeByThree()._fused(D, u, 1.0) is None


@STENCILS
def test_derivatives_are_those_of_the_readable_form(stencil: Selling) -> None:
    D, u = tensors(3.0, 4, 5).requires_grad_(), torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    slopes = []
    for kernels in (False, True):
        with use(kernels):
            slopes.append(torch.autograd.grad(stencil.divergence(D, u, 1.0).square().sum(), [D, u]))
    torch.testing.assert_close(*slopes)
