r"""W_C u = C W u, C orthogonal: a tight frame whose filters are learned, tight whatever has been learned.   (2.1)-(2.3)

Write the filters of a bank as rows of a matrix, Q[i, k] = q_i[k], and G = Q^T Q for its Gram matrix, of the taps. The
first condition of the extension principle, and the second for a shift pi nu, read

    sum_i sum_k q_i[k + n] q_i[k] = sum_k G[k + n, k] = delta_n,          sum_k (-1)^{<nu, k>} G[k + n, k] = 0:

they ask about G alone. So C Q is a bank with them if Q is, for every C with C^T C = I; and all banks of as many
filters with the same G are of this form. Which G come up:

    G = p^{-d} I          Q is 1/p^{d/2} times an orthogonal matrix of size p^d: Haar (p = 2), the cosine bank `dct(p)`;
                          from one of them C reaches all such banks
    G = diag(w), sum w = 1   Q = O diag(sqrt w): every B-spline, with w[k] = binom(m, k) / 2^m; the O are Krawtchouk's
    any other             sum_k G[k + n, k] = delta_n needs no zeros beside the diagonal: Daubechies' filters

So the piecewise linear bank is no orthogonal matrix times a number (its w is 1/4, 1/2, 1/4), and C leaves this w as it
is. In the second line of the table the second condition is that w has the mass 2^{-d} on each class of (even, odd) k.

The sums of the filters are s = Q 1, and |s|^2 = 1 by the first condition. Where p is an average, sum p = 1, the others
have sum 0, s = e_0, and p = Q^T s = G 1 follows from G (for G = diag(w) it is w). So p stays, and C = diag(1, C_0, ...,
C_L) with one block for the r high bands of a level; every filter but p keeps a vanishing moment at least. Hence C may
act after W. The cascade, its speed, boundary and dimension are those of W, and W_C^T W_C = W^T C^T C W = I.

Paper: (2.1)-(2.3), Ex 2.1, Section 5.  Notebook: 14.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.operators.filters import Filter
from companion.operators.frames import Band, FrameletTransform
from companion.operators.linear import LinearOperator, check_rho


class LearnedFrame(LinearOperator):
    r"""W_C u = diag(1, C_0, ..., C_L) W u, C_l = exp(S_l), S_l^T = -S_l: W itself for S = 0.   (2.1), (2.3)

    W        a tight FrameletTransform, where the learning starts; not changed
    average  True: the block of the last level mixes the average, too, all r + 1 filters. Then p need not be an average
             any more, nor the others have sum 0

    The Parameters are `skew`, for each level the n(n-1)/2 entries of S_l below the diagonal; C_l is computed in float64
    and acts in the type of u. exp(S) reaches the rotations, det C = 1: with the sign of one filter changed, which no
    threshold sees, all orthogonal C.

    W_C(u)      (*batch, *space) -> (*batch, band, *space), the bands in the order of W, mixed within a level
    levels, dim, bands, boundary, weights    those of W

    Raises ValueError for a W that is not tight.

    >>> from companion.operators.banks import bspline
    >>> V = LearnedFrame(FrameletTransform(bspline(2), levels=2))
    >>> sum(p.numel() for p in V.parameters()), V(torch.zeros(9, 9)).shape  # 8 high bands on each of 2 levels
    (56, torch.Size([17, 9, 9]))
    """

    tight = True

    def __init__(self, W: FrameletTransform, average: bool = False):
        super().__init__()
        if not W.tight or W.dual_bank is not None:
            raise ValueError(f"C W is tight for every orthogonal C if W^T W = I; got {W}. Take a tight bank.")
        self.W, self.average = W, average
        sizes = [len(W.indices) - 1] * W.levels
        sizes[-1] += average
        self.skew = nn.ParameterList(nn.Parameter(torch.zeros(n * (n - 1) // 2, dtype=torch.float64)) for n in sizes)

    # ---- C ------------------------------------------------------------------------------------------------------

    def mixing(self, level: int) -> Float[Tensor, "n n"]:
        """C_l = exp(S_l), float64."""
        S = self.skew[level].double()
        n = round((1 + (1 + 8 * S.numel()) ** 0.5) / 2)
        i, j = torch.tril_indices(n, n, -1, device=S.device)
        A = S.new_zeros(n, n).index_put((i, j), S)
        return torch.linalg.matrix_exp(A - A.T)

    def _mix(self, d: Tensor, transposed: bool = False) -> Tensor:
        """C d or C^T d."""
        axis, r = -self.dim - 1, len(self.W.indices) - 1
        a, *high = d.split([1, *[r] * self.levels], axis)
        if self.average:
            high[-1] = torch.cat([a, high[-1]], axis)
        for level, part in enumerate(high):
            C = self.mixing(level).to(d.dtype)
            flat = part.flatten(-self.dim)
            high[level] = ((C.T if transposed else C) @ flat).reshape(part.shape)
        if self.average:
            a, high[-1] = high[-1].split([1, r], axis)
        return torch.cat([a, *high], axis)

    # ---- W_C and W_C^T --------------------------------------------------------------------------------------------

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self._mix(self.W(u))

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """W^T C^T d."""
        if f.ndim <= self.dim or f.shape[-self.dim - 1] != len(self.bands):
            return self.W.adjoint(f)  # which says what is wrong
        return self.W.adjoint(self._mix(f, transposed=True))

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """1."""
        return self.W.norm(like, k, tol)

    def normal_solve(self, v: Tensor, rho: float | Tensor, tol: float | None = None, k: int = 1000) -> Tensor:
        """v / (1 + rho)."""
        check_rho(rho)
        return v / (1 + rho)

    # ---- what goes with it ---------------------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """d, the dimension of the picture."""
        return self.W.dim

    @property
    def levels(self) -> int:
        """L + 1."""
        return self.W.levels

    @property
    def boundary(self) -> str:
        """The boundary of W."""
        return self.W.boundary

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands of W: where each is on the band axis, and what it was before the learning."""
        return self.W.bands

    def weights(self, lam: float | Tensor, decay: float = 1.0) -> Tensor:
        """lambda_{ell,l} = lam decay^l, and 0 on the average: `W.weights`."""
        return self.W.weights(lam, decay)

    def filters(self, level: int = 0) -> list[Filter]:
        r"""The filters of one level as they are now, detached: sum_j C_l[i, j] q_{j,l} of (2.2), the average first.

        With one level they are a bank, and `FrameletTransform(V.filters())` is W_C.
        """
        old = [self.W.filter(index, level) for index in self.W.indices]
        lo = np.min([q.origin for q in old], 0)
        Q = np.zeros((len(old), *np.max([np.add(q.origin, q.taps.shape) for q in old], 0) - lo))
        for row, q in zip(Q, old, strict=True):
            row[tuple(slice(o, o + n) for o, n in zip(q.origin - lo, q.taps.shape, strict=True))] = q.taps
        C = self.mixing(level).detach().cpu().numpy()
        Q[-len(C) :] = np.tensordot(C, Q[-len(C) :], 1)
        return [Filter(taps, lo.tolist()) for taps in Q]

    @property
    def gains(self) -> Tensor:
        """|q_{ell,l}|_2 of the filters as they are now, (band, 1, ..., 1): sigma times it is the noise in that band."""
        high = [self.filters(level) for level in range(self.levels)]
        used = [high[-1][0], *[q for level in high for q in level[1:]]]
        norms = [float((q.taps**2).sum()) ** 0.5 for q in used]
        return torch.tensor(norms, dtype=torch.float64, device=self.W.device).reshape(-1, *[1] * self.dim)

    def extra_repr(self) -> str:
        return f"average={self.average}"
