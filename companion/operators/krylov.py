r"""M x = v for a matrix M that need not be symmetric: restarted GMRES, by products M x alone.   Section 3

After m steps x minimises |v - M x| over the Krylov space span{v, M v, ..., M^{m-1} v}, of which Arnoldi's method keeps
an orthonormal basis. `conjugate_gradients` asks for less memory and for a symmetric positive M; the derivative of a
diffusion is not symmetric as soon as its diffusivity looks at a smoothed picture.

Paper: Section 3 (implicit schemes).  Notebook: 06.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gmres(
    M: Callable[[Tensor], Tensor],
    v: Tensor,
    tol: float | None = None,
    k: int = 300,
    basis: int = 40,
    strict: bool = True,
) -> Tensor:
    r"""x with |v - M x| <= tol |v|, from x = 0, after at most k products with M.

    M      a linear function on tensors of v's shape, batch included (one Krylov space serves the batch)
    tol    relative residual; default 100 times the rounding unit of v's type
    basis  how many vectors are kept before the method starts again from what it has reached
    strict True: raises RuntimeError, with the residual reached, if k products do not suffice; False: returns x then too

    >>> gmres(lambda x: 2 * x + x.roll(1, -1), torch.tensor([3.0, 3.0])).round(decimals=4)
    tensor([1., 1.])
    """
    tol = 100 * torch.finfo(v.dtype).eps if tol is None else tol
    size = torch.linalg.vector_norm(v)
    x, r, done = torch.zeros_like(v), v, 0
    while (reached := torch.linalg.vector_norm(r)) > tol * size:
        if done >= k and not strict:
            break
        if done >= k:
            raise RuntimeError(
                f"M x = v: {k} products of GMRES reached a relative residual of {float(reached / size):.1e}, not "
                f"{tol:.1e}. Allow more (k=...) or a looser tol; if M = I - dt F'(u), a shorter step dt is easier."
            )
        x = x + _cycle(M, r, tol * size, min(basis, k - done))
        r, done = v - M(x), done + basis
    return x


def _cycle(M: Callable[[Tensor], Tensor], r: Tensor, goal: Tensor, m: int) -> Tensor:
    """The correction x that minimises |r - M x| over a Krylov space of at most m dimensions."""
    beta = torch.linalg.vector_norm(r)
    Q = [r / beta]
    H = r.new_zeros(m + 1, m)
    for j in range(m):
        w = M(Q[j])
        for _ in range(2):  # once more: Gram and Schmidt lose orthogonality to rounding
            for i, q in enumerate(Q):
                h = torch.sum(q * w)
                H[i, j] += h
                w = w - h * q
        H[j + 1, j] = torch.linalg.vector_norm(w)
        right = torch.zeros_like(H[: j + 2, 0])
        right[0] = beta
        y = torch.linalg.lstsq(H[: j + 2, : j + 1], right[:, None]).solution[:, 0]
        if torch.linalg.vector_norm(right - H[: j + 2, : j + 1] @ y) <= goal / 2 or H[j + 1, j] <= 1e-14 * beta:
            break
        Q.append(w / H[j + 1, j])
    return torch.tensordot(y, torch.stack(Q[: len(y)]), dims=([0], [0]))
