"""The loops of differences equal the readable form: every size, border, layout, type and derivative."""

import itertools

import pytest
import torch
from torch import Tensor

from companion import Divergence, Gradient
from companion.kernels import differences, use

pytest.importorskip("numba")

BORDERS = pytest.mark.parametrize("boundary", ["reflect", "periodic"])
TYPES = pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
SIZES = {
    1: [(1,), (2,), (3, 7)],
    2: [(1, 1), (2, 1), (1, 2), (5, 6), (2, 3, 7, 4)],
    3: [(2, 3, 4), (1, 1, 5), (2, 5, 1, 3)],
}


def close(a: Tensor, b: Tensor, tol: float) -> None:
    assert a.shape == b.shape and a.dtype == b.dtype
    assert (a - b).abs().max() <= tol * b.abs().max().clamp_min(1)


@BORDERS
@TYPES
@pytest.mark.parametrize(("dim", "shape"), [(dim, shape) for dim, shapes in SIZES.items() for shape in shapes])
def test_the_loops_are_the_readable_form(
    dim: int, shape: tuple[int, ...], boundary: str, dtype: torch.dtype, tol: float
) -> None:
    D = Gradient(0.3, dim, boundary)
    u = torch.randn(*shape, dtype=dtype)
    with use(False):
        p = D(u)
        v = torch.randn_like(p)
        back = D.adjoint(v)
    with use(True):
        close(D(u), p, tol)
        close(D.adjoint(v), back, tol)


@BORDERS
def test_the_loops_are_differences_written_out(boundary: str) -> None:
    """Pixel by pixel, and <D u, p> = <u, D^T p>."""
    H, W, h = 4, 5, 0.5
    u, p = torch.randn(H, W, dtype=torch.float64), torch.randn(2, H, W, dtype=torch.float64)
    D = Gradient(h, boundary=boundary)
    with use(True):
        Du, back = D(u), D.adjoint(p)
    for i, j in itertools.product(range(H), range(W)):
        down = u[(i + 1) % H, j] if boundary == "periodic" or i < H - 1 else u[i, j]
        right = u[i, (j + 1) % W] if boundary == "periodic" or j < W - 1 else u[i, j]
        assert Du[0, i, j] == pytest.approx(float(down - u[i, j]) / h, abs=1e-14)
        assert Du[1, i, j] == pytest.approx(float(right - u[i, j]) / h, abs=1e-14)
    torch.testing.assert_close((Du * p).sum(), (u * back).sum())


def test_any_layout_is_taken() -> None:
    """Transposed, strided, expanded, conjugated and empty pictures; the argument is not changed."""
    D, z = Gradient(), torch.randn(6, 9, dtype=torch.complex128)
    pictures = [z.real.T, z.real[::2, 1::3], z.real[:1].expand(4, 9), z.conj().imag, z.real[None][:0]]
    for u in pictures:
        before = u.clone()
        with use(False):
            p = D(u)
            back = D.adjoint(p.flip(-1))
        with use(True):
            torch.testing.assert_close(D(u), p)
            torch.testing.assert_close(D.adjoint(p.flip(-1)), back)
        assert torch.equal(u, before)


@BORDERS
@pytest.mark.parametrize(("dim", "shape"), [(1, (5,)), (2, (2, 3, 4)), (3, (2, 3, 3))])
def test_derivatives(dim: int, shape: tuple[int, ...], boundary: str) -> None:
    """First and second ones, those of a Divergence; and batches by vmap."""
    D, div = Gradient(0.5, dim, boundary), Divergence(0.5, dim, boundary)
    u = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    with use(True):
        assert torch.autograd.gradcheck(D, (u,)) and torch.autograd.gradgradcheck(lambda u: D(u).square(), (u,))
        assert torch.autograd.gradcheck(lambda u: div(D(u)), (u,))
        p = D(u.detach())
        grid = (0.5, dim, boundary == "periodic")
        stacked = torch.stack([u.detach(), 2 * u.detach()], -1)
        batch = torch.func.vmap(lambda u: differences.gradient(u, *grid), in_dims=-1)(stacked)
        torch.testing.assert_close(batch, torch.stack([p, 2 * p]))
        back = torch.func.vmap(lambda p: differences.gradient_adjoint(p, *grid))(batch)
        torch.testing.assert_close(back, torch.stack([D.adjoint(p), 2 * D.adjoint(p)]))


def test_the_operators_are_sound_for_torch() -> None:
    u, p = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 4), (2, 2, 3, 4)))
    torch.library.opcheck(differences._forward_op, (u, 0.5, 2, False))
    torch.library.opcheck(differences._adjoint_op, (p, 0.5, 2, True))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_rows(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "ALONE", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    D, u = Gradient(boundary="periodic"), torch.randn(3, 5, 4, dtype=torch.float64)
    with use(False):
        p = D(u)
        back = D.adjoint(p)
    with use(True):
        torch.testing.assert_close(D(u), p)
        torch.testing.assert_close(D.adjoint(p), back)
