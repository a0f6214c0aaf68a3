r"""q = q_0 + P z: filters that are learned while their first moments stay what they are.   (5.7)

A bank of filters with taps q_0, and z free. P projects the taps orthogonally onto those with m_beta = 0 for all
|beta| < order, so that

    order 1    m_00 is held: 0 for a difference, which so ignores constants; 1 for a mean, which so keeps them
    order 2    m_10 and m_01 as well: the point at which a mean is taken, the scale of a first difference

before, during and after the training. With z = 0 the taps are q_0 to the last bit. `MomentBank` fixes the same
entries by writing the free moments themselves; here the learned numbers are taps, of one size all of them.

How a bank acts is here too: on C components, each with m filters of its own, by one convolution and its exact adjoint.

Paper: (5.5)-(5.7), [31].  Notebook: 14.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from jaxtyping import Complex, Float
from torch import Tensor, nn

from companion.operators.filters import multi_indices
from companion.operators.grid import extend, fold
from companion.operators.moments import moment_matrix

FREQUENCIES = 256  # along an axis, where a symbol is looked at


class HeldMoments(nn.Module):
    r"""() -> q_0 + P z: the taps, (*bank, N, N), whose moments m_beta with |beta| < order are those of q_0.   (5.7)

    taps   q_0, N odd, the tap of k = 0 in the middle
    order  >= 0; 0 holds nothing

    The only parameter is z, 0 at the start, kept in float64. Raises ValueError for order < 0, or so many moments that
    nothing is left to learn.

    >>> q = HeldMoments(torch.tensor([[0.0, 0, 0], [0, -1, 0], [0, 1, 0]]), order=1)
    >>> q(torch.ones(3, 3)).sum().item()
    0.0
    """

    start: Tensor
    P: Tensor

    def __init__(self, taps: Float[Tensor, "*bank N N"], order: int):
        super().__init__()
        q = taps.detach().to(torch.float64)
        N = q.shape[-1]
        held = [beta for n in range(order) for beta in multi_indices(2, n) if max(beta) < N]
        if order < 0 or len(held) >= N * N:
            raise ValueError(
                f"A filter of {N} x {N} taps keeps its moments of order below 0 to {2 * N - 2} while something is left "
                f"to learn; got order={order}."
            )
        basis = torch.eye(N * N, dtype=torch.float64).reshape(-1, N, N)
        moments = moment_matrix(basis)  # of each tap alone
        rows = torch.stack([moments[:, i, j] for i, j in held], 1) if held else basis.new_zeros(N * N, 0)
        Q = torch.linalg.qr(rows).Q
        self.register_buffer("start", q.clone())
        self.register_buffer("P", torch.eye(N * N, dtype=torch.float64) - Q @ Q.T)
        self.z = nn.Parameter(torch.zeros_like(q))
        self.order = order

    def forward(self, like: Tensor) -> Float[Tensor, "*bank N N"]:
        """q_0 + P z in the type and on the device of `like`."""
        return (self.start + (self.z.flatten(-2) @ self.P).unflatten(-1, self.z.shape[-2:])).to(like)

    def extra_repr(self) -> str:
        return f"{tuple(self.start.shape)}, order={self.order}"


def bank_correlate(
    u: Float[Tensor, "*batch C H W"], q: Float[Tensor, "C m N N"], boundary: str
) -> Float[Tensor, "*batch C m H W"]:
    r"""(sum_k q_cl[k] u_c[n + k])_cl: each component by its own m filters.   (2.1)

    boundary  "periodic", "reflect", or "zero": u vanishes outside
    """
    C, m, N = q.shape[:3]
    v = u.reshape(-1, *u.shape[-3:])
    if boundary != "zero":
        for axis in (-2, -1):
            v = extend(v, N // 2, N // 2, axis, boundary)
    d = nnf.conv2d(v, q.reshape(C * m, 1, N, N), padding=N // 2 if boundary == "zero" else 0, groups=C)
    return d.reshape(*u.shape[:-2], m, *u.shape[-2:])


def bank_adjoint(
    d: Float[Tensor, "*batch C m H W"], q: Float[Tensor, "C m N N"], boundary: str
) -> Float[Tensor, "*batch C H W"]:
    """(sum_l sum_k q_cl[k] d_cl[n - k])_c: the exact adjoint of `bank_correlate`, folded at the border."""
    C, m, N = q.shape[:3]
    v = d.reshape(-1, C * m, *d.shape[-2:])
    r = N // 2
    v = nnf.conv_transpose2d(v, q.reshape(C * m, 1, N, N), padding=r if boundary == "zero" else 0, groups=C)
    if boundary != "zero":
        for axis in (-2, -1):
            v = fold(v, r, r, axis, boundary)
    return v.reshape(*d.shape[:-3], *d.shape[-2:])


def symbol_bound(q: Float[Tensor, "r N N"]) -> Float[Tensor, ""]:
    r"""B >= sup_w sum_i |q_i^(w)|^2, the bound of sum_i |q_i u|^2 over |u|^2; differentiable.

    The sum is a trigonometric polynomial of degree N - 1 in each w_j: it is at most its largest value on n x n
    frequencies over cos^2(pi (N - 1)/n) (Ehlich and Zeller); n = 256, so for 3 x 3 taps B is less than 0.13 % above the
    supremum. Where sum_i (sum_k |q_i[k]|)^2 is less, as for forward differences, that is B, and exact.

    >>> float(symbol_bound(torch.tensor([[[0.0, 0, 0], [0, -1, 1], [0, 0, 0]], [[0, 0, 0], [0, -1, 0], [0, 1, 0]]])))
    8.0
    """
    N = q.shape[-1]
    c = nnf.conv2d(q[None], q[None], padding=N - 1)[0, 0]  # the autocorrelations, summed
    k = torch.arange(1 - N, N, dtype=q.dtype, device=q.device)
    with torch.no_grad():
        w = 2 * math.pi / FREQUENCIES * torch.arange(FREQUENCIES, dtype=q.dtype, device=q.device)
        C, S = torch.outer(w, k).cos(), torch.outer(w, k).sin()
        values = C[: FREQUENCIES // 2 + 1] @ c @ C.T - S[: FREQUENCIES // 2 + 1] @ c @ S.T
        i, j = divmod(int(values.argmax()), FREQUENCIES)
    peak = (torch.cos(w[i] * k[:, None] + w[j] * k) * c).sum()
    crude = q.abs().sum((-2, -1)).square().sum()
    return torch.minimum(peak / math.cos(math.pi * (N - 1) / FREQUENCIES) ** 2, crude)


def symbols(q: Float[Tensor, "*bank N N"], shape: Sequence[int]) -> Complex[Tensor, "*bank n1 n2"]:
    """sum_k q[k] e^{i w.k} at w = 2 pi j/shape: what a torus of this shape multiplies by."""
    k = torch.arange(q.shape[-1], dtype=q.dtype, device=q.device) - q.shape[-1] // 2
    waves = [2 * math.pi / n * torch.outer(torch.arange(n, dtype=q.dtype, device=q.device), k) for n in shape]
    E1, E2 = (torch.complex(w.cos(), w.sin()) for w in waves)
    return E1 @ q.to(E1.dtype) @ E2.mT
