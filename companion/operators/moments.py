r"""m_ij = 1/(i! j!) sum_k k_1^i k_2^j q[k]: a filter and its moment matrix M(q).   (5.5)-(5.7)

k = -(N-1)/2, ..., (N-1)/2 along each axis, N odd; the first index of q and of M is that of x = x_1, axis -2 of u. With
the correlation (Q u)[n] = sum_k q[k] u[n + k], Taylor's formula reads

    (Q u)[n] = sum_ij m_ij h^{i+j} d^{i+j}u / dx^i dy^j,

so h^{-|alpha|} Q is d^alpha up to O(h^r) if m_beta = 1 for beta = alpha and 0 for the other |beta| < |alpha| + r. That
is accuracy r. A true convolution with q would give (-1)^{i+j} d^{i+j}u, and without h^{-|alpha|} the derivative comes
"up to a constant". The other entries are free, one degree of freedom each; for d/dx by 3 x 3 taps

            ( 0 0 * )                ( 0 0 0 )
    r = 1   ( 1 * * )   6,     r = 2 ( 1 0 * )   3.     (5.7)
            ( * * * )                ( 0 * * )

q -> M is linear and one to one: M = A q A^T, A_{ik} = k^i / i!. Rounding grows with N: q -> M -> q loses 3e-14 for
5 x 5 taps of size 1, 5e-11 for 9 x 9.

Paper: (5.5)-(5.7), Prop 4.1, [101], [102].  Notebooks: 12, 13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache, reduce

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float
from torch import Tensor

from companion.operators.filters import Filter, MultiIndex, multi_indices

Order = int | Sequence[int]


def moment_matrix(q: Float[Tensor, "*shape"], dim: int = 2) -> Float[Tensor, "*shape"]:
    r"""M(q) = A q A^T, A_{ik} = k^i / i!: m_ij = 1/(i! j!) sum_k k_1^i k_2^j q[k].   (5.5), (5.6)

    q    (*batch, N, N), or (*batch, N) for dim = 1; N odd

    Raises ValueError for an even N, or taps that are not square.

    >>> moment_matrix(torch.tensor([-0.5, 0.0, 0.5]), dim=1)
    tensor([0., 1., 0.])
    """
    return _both_sides(_vandermonde(_length(q, dim), q.dtype, q.device)[0], q, dim)


def from_moments(M: Float[Tensor, "*shape"], dim: int = 2) -> Float[Tensor, "*shape"]:
    r"""q = A^{-1} M A^{-T}: the one filter whose moment matrix is M; shapes as in `moment_matrix`.   (5.6)

    (A^{-1})_{ki} = i! times the coefficient of x^i in Lagrange's polynomial that is 1 at k and 0 at the other taps.

    >>> from_moments(torch.tensor([0.0, 0.0, 1.0]), dim=1)
    tensor([ 1., -2.,  1.])
    """
    return _both_sides(_vandermonde(_length(M, dim), M.dtype, M.device)[1], M, dim)


def central(alpha: Order, N: int) -> Tensor:
    r"""The q with m_alpha = 1 and every other entry of M(q) = 0: the most accurate filter for d^alpha on N^d taps.

    alpha = (i, j), or i in one dimension, each < N. A tensor product of central differences; for alpha = 0 a delta.

    >>> central(1, 5) * 12
    tensor([ 1., -8.,  0.,  8., -1.], dtype=torch.float64)
    """
    alpha = order_of(alpha, N)
    M = torch.zeros((N,) * len(alpha), dtype=torch.float64)
    M[alpha] = 1
    return from_moments(M, len(alpha))


def upwind(alpha: Order, N: int) -> Tensor:
    r"""(-3 4 -1)/2 at k = 0, 1, 2 for a first derivative, (1 -2 1) for a second along an axis; else `central`.   [101]

    Raises ValueError for a first derivative on N < 5 taps.

    >>> upwind(1, 5)
    tensor([ 0.0000,  0.0000, -1.5000,  2.0000, -0.5000], dtype=torch.float64)
    """
    alpha = order_of(alpha, N)
    if sum(alpha) > 2 or alpha == (1, 1):
        return central(alpha, N)
    if sum(alpha) == 1 and N < 5:
        raise ValueError(
            f"The one-sided difference (-3 4 -1)/2 reaches from k = 0 to k = 2, so it needs N >= 5 taps; got N={N}. "
            "Take central(alpha, N)."
        )
    five = torch.tensor([[0.0, 0, 1, 0, 0], [0, 0, -1.5, 2, -0.5], [0, 1, -2, 1, 0]], dtype=torch.float64)
    lines = nnf.pad(five, ((N - 5) // 2,) * 2)  # N = 3: the outermost zeros are cut
    return reduce(lambda q, i: q.unsqueeze(-1) * lines[i], alpha[1:], lines[alpha[0]])


def accuracy_of(q: Tensor, alpha: Order, tolerance: float = 1e-6) -> int | float:
    r"""The largest r with m_beta = (1 if beta = alpha, else 0) for all |beta| < |alpha| + r; 0 if there is none.

    q    the taps of one filter, (N,) or (N, N). The moments beyond the matrix, i or j >= N, are asked, too.

    Below `tolerance` a difference counts as zero. math.inf for a delta and alpha = 0, which has no error at all.

    >>> accuracy_of(central(1, 5), 1), accuracy_of(upwind(1, 5), 1), accuracy_of(central((2, 0), 3), (2, 0))
    (4, 2, 2)
    """
    N = _length(q, q.ndim)
    alpha = order_of(alpha, N, q.ndim)
    moments, s = Filter(q.detach().cpu().numpy()), sum(alpha)
    for order in range(s + 2 * N):
        if any(abs(moments.constant(b) - (b == alpha)) > tolerance for b in multi_indices(q.ndim, order)):
            return max(0, order - s)
    return math.inf


def constrained(alpha: Order, N: int, accuracy: int) -> Bool[Tensor, "*shape"]:
    r"""The entries of M(q) that accuracy r fixes for d^alpha: all |beta| < |alpha| + r.   (5.7)

    True where fixed, at 1 for beta = alpha and at 0 otherwise; shape (N, N), or (N,) if alpha is a number.

    On N taps the moments with i >= N follow from the others (k^3 = k on three taps), and may contradict the rule.
    Raises ValueError then, with the largest accuracy that N taps allow.

    >>> constrained((1, 0), 3, accuracy=1).int()
    tensor([[1, 1, 0],
            [1, 0, 0],
            [0, 0, 0]], dtype=torch.int32)
    """
    alpha = order_of(alpha, N)
    largest = accuracy_of(central(alpha, N), alpha, tolerance=1e-9)
    if not 1 <= accuracy <= largest:
        raise ValueError(
            f"With {N} taps along an axis a filter for the derivative of order {alpha} has an accuracy of 1 to "
            f"{largest}: beyond, the moments contradict each other; got accuracy={accuracy}. Take a larger N or less "
            "accuracy."
        )
    i = torch.meshgrid(*[torch.arange(N)] * len(alpha), indexing="ij")
    return sum(i, torch.zeros_like(i[0])) < sum(alpha) + accuracy


def degrees_of_freedom(alpha: Order, N: int, accuracy: int) -> int:
    r"""The number of * in M(q): N^2 - (s + r)(s + r + 1)/2 for order s = |alpha|, accuracy r, s + r <= N.   (5.7)

    N - s - r in one dimension.

    >>> degrees_of_freedom((1, 0), 3, 1), degrees_of_freedom((1, 0), 3, 2), degrees_of_freedom((2, 0), 5, 2)
    (6, 3, 15)
    """
    return int((~constrained(alpha, N, accuracy)).sum())


def order_of(alpha: Order, N: int, dim: int | None = None) -> MultiIndex:
    """alpha as a tuple of one or two numbers, 0 <= alpha_i < N; ValueError if it is not."""
    index = tuple(map(int, alpha)) if isinstance(alpha, Sequence) else (int(alpha),)
    if len(index) not in ((1, 2) if dim is None else (dim,)) or not all(0 <= i < N for i in index):
        raise ValueError(
            f"A derivative is (i, j), or i in one dimension, each from 0 to N-1 for N={N} taps along an axis; got "
            f"{alpha}."
        )
    return index


def _length(q: Tensor, dim: int) -> int:
    """N, of taps or of moments."""
    if dim not in (1, 2):
        raise ValueError(f"Filters have one or two dimensions here; got dim={dim}.")
    if q.ndim < dim or not q.is_floating_point() or len(set(q.shape[q.ndim - dim :])) != 1:
        raise ValueError(
            f"A filter has N taps along each of its {dim} axes, real numbers; got shape {tuple(q.shape)} of {q.dtype}."
        )
    return q.shape[-1]


@lru_cache(maxsize=64)
def _vandermonde(N: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """A and its inverse, computed exactly and then rounded."""
    if N % 2 == 0:
        raise ValueError(
            f"The taps are k = -(N-1)/2, ..., (N-1)/2 with 0 in the middle, so N is odd; got N={N}. "
            f"Take N={N + 1}, or pad the filter with zeros to it."
        )
    ks = range(-(N // 2), N // 2 + 1)
    A = [[Fraction(k**i, math.factorial(i)) for k in ks] for i in range(N)]
    inverse = []
    for k in ks:
        lagrange = [Fraction(1)]  # prod_{l != k} (x - l) / (k - l), lowest power first
        for l in ks:
            if l != k:
                shifted, scaled = [Fraction(0), *lagrange], [*(l * c for c in lagrange), Fraction(0)]
                lagrange = [(a - b) / (k - l) for a, b in zip(shifted, scaled, strict=True)]
        inverse.append([math.factorial(i) * c for i, c in enumerate(lagrange)])
    with torch.inference_mode(False):  # kept in a cache: made in inference mode, it could not serve autograd later
        exact = torch.tensor([[[float(c) for c in row] for row in B] for B in (A, inverse)], dtype=torch.float64)
        there = exact.to(dtype=dtype, device=device)
        return there[0], there[1]


def _both_sides(A: Tensor, q: Tensor, dim: int) -> Tensor:
    """A along every axis of q."""
    return q @ A.mT if dim == 1 else A @ q @ A.mT
