r"""a[n] x[n-1] + b[n] x[n] + c[n] x[n+1] = d[n]: many tridiagonal systems at once.   Section 3

What an implicit step of a diffusion along one axis asks for. *Parallel cyclic reduction*: the rows n - s and n + s are
used to remove x[n-s] and x[n+s] from row n, which then couples to x[n-2s] and x[n+2s] only; with s = 1, 2, 4, ... each
row stands alone after ceil(log2 N) passes over all rows together. There is no pivot: the matrix must be diagonally
dominant, |b| >= |a| + |c| with > somewhere, as I - dt L is.

On a ring a[0] couples x[0] to x[N-1] and c[N-1] couples x[N-1] to x[0]; Sherman and Morrison's formula for a matrix
plus one of rank 1 takes the two corners out, at the price of a second right-hand side.

Paper: Section 3 (semi-implicit schemes).  Notebook: 06.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def tridiagonal_solve(
    a: Float[Tensor, "..."],
    b: Float[Tensor, "..."],
    c: Float[Tensor, "..."],
    d: Float[Tensor, "..."],
    axis: int = -1,
    ring: bool = False,
) -> Float[Tensor, "..."]:
    r"""x with a[n] x[n-1] + b[n] x[n] + c[n] x[n+1] = d[n] along one axis, n = 0, ..., N-1.

    a, b, c  lower diagonal, diagonal, upper diagonal; of length N along the axis, else broadcast to d
    d        the right-hand sides
    ring     False: x[-1] = x[N] = 0, so that a[0] and c[N-1] play no part; True: x[-1] = x[N-1] and x[N] = x[0]

    Differentiable in all four. Raises ValueError if the lengths along the axis differ.

    >>> one = torch.ones(3)
    >>> tridiagonal_solve(-one, 2 * one, -one, torch.tensor([0.0, 0.0, 4.0]))
    tensor([1., 2., 3.])
    """
    lengths = [t.shape[axis] for t in (a, b, c, d)]
    if len(set(lengths)) > 1:
        raise ValueError(
            "The diagonals a, b, c and the right-hand side d have one entry for each row of the system; got lengths "
            f"{', '.join(map(str, lengths))}. Fill the unused a[0] and c[N-1] with zeros."
        )
    a, b, c, d = (t.movedim(axis, -1) for t in torch.broadcast_tensors(a, b, c, d))
    return (_ring(a, b, c, d) if ring else _line(a, b, c, d[None])[0]).movedim(-1, axis)


def _line(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Parallel cyclic reduction along the last axis, for a stack of right-hand sides d."""
    n, s = b.shape[-1], 1
    a, c = pad(a[..., 1:], (1, 0)), pad(c[..., :-1], (0, 1))
    while s < n:
        low, high = -a[..., s:] / b[..., :-s], -c[..., :-s] / b[..., s:]  # of the rows n >= s and n < N - s
        b, a, c, d = (
            b + pad(low * c[..., :-s], (s, 0)) + pad(high * a[..., s:], (0, s)),
            pad(low * a[..., :-s], (s, 0)),
            pad(high * c[..., s:], (0, s)),
            d + pad(low * d[..., :-s], (s, 0)) + pad(high * d[..., s:], (0, s)),
        )
        s *= 2
    return d / b


def _ring(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    r"""M + u v^T = the ring's matrix, u = (g, 0, ..., 0, c[N-1]), v = (1, 0, ..., 0, a[0]/g), g = -b[0]."""
    if b.shape[-1] == 1:
        return d / (a + b + c)
    first, last = a[..., :1], c[..., -1:]
    g = -b[..., :1]
    middle = b.new_zeros(()).expand_as(b)[..., 1:-1]
    diagonal = b + torch.cat([g.neg(), middle, -first * last / g], -1)
    y, z = _line(a, diagonal, c, torch.stack([d, torch.cat([g, middle, last], -1)]))

    def along_v(x: Tensor) -> Tensor:
        return x[..., :1] + first / g * x[..., -1:]

    return y - z * (along_v(y) / (1 + along_v(z)))
