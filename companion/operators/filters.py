r"""q = (q[k]), k in Z^d, finitely many taps: moments, symbol, vanishing moments.   (4.1), Prop 4.1

A filter is a constant of mathematics, so `Filter` is immutable and lives in float64 NumPy; the operators that use
filters hold them as tensors. From the taps come

    q^(w) = sum_k q[k] e^{-i k.w}                    the symbol
    m_beta = sum_k k^beta q[k] = i^{|beta|} D^beta q^(0)     the moments (4.1)
    C_alpha = m_alpha / alpha!                       the constant of Prop 4.1, with its sign

q has vanishing moments of order alpha if m_beta = 0 for all |beta| <= |alpha|, beta != alpha, *and m_alpha != 0* (the
paper omits the last; without it C_alpha = 0 and Prop 4.1 approximates 0, not a derivative). It has total vanishing
moments of order K if m_beta = 0 for all |beta| < K, and of order K \ {J+1} if the same holds *except for one* beta_0
with |beta_0| = J < K (the paper prints "except for beta != beta_0").

Paper: (4.1), Prop 4.1, Ex 2.1.  Notebooks: 02, 03.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import reduce
from math import factorial, prod

import numpy as np
from numpy.typing import ArrayLike

MultiIndex = tuple[int, ...]
ROUNDING = 1e-12  # a moment counts as zero below this times sum_k |k^beta q[k]|


class Filter:
    r"""q[k] for k = origin, origin + 1, ..., in one or more dimensions.

    taps    array of numbers, one axis for each dimension
    origin  index k of the first tap (an int, or one for each axis); default -floor((N-1)/2): odd lengths are centred,
            even lengths have taps at ..., 0 | 1, ...

    >>> Filter([0.5, -0.5])
    Filter([ 0.5, -0.5], origin=0)
    """

    def __init__(self, taps: ArrayLike, origin: int | Sequence[int] | None = None):
        q = np.asarray(taps, dtype=np.float64).copy()
        if q.ndim == 0 or q.size == 0:
            raise ValueError(f"A filter needs at least one tap along each axis; got taps of shape {q.shape}.")
        if not np.isfinite(q).all():
            raise ValueError(f"The taps of a filter must be finite numbers; got {q.tolist()}.")
        if origin is None:
            origin = [-((n - 1) // 2) for n in q.shape]
        origin = (int(origin),) * q.ndim if isinstance(origin, (int, np.integer)) else tuple(int(o) for o in origin)
        if len(origin) != q.ndim:
            raise ValueError(f"The origin needs one index for each of the {q.ndim} axes of the taps; got {origin}.")
        q.setflags(write=False)
        self.taps, self.origin = q, origin

    @property
    def ndim(self) -> int:
        """d, the dimension of the grid the filter acts on."""
        return self.taps.ndim

    def __repr__(self) -> str:
        o = self.origin[0] if self.ndim == 1 else self.origin
        return f"Filter({np.array2string(self.taps, separator=', ', precision=6)}, origin={o})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Filter):
            return NotImplemented
        return self.origin == other.origin and np.array_equal(self.taps, other.taps)

    def __hash__(self) -> int:
        return hash((self.origin, self.taps.tobytes()))

    def indices(self) -> Iterator[tuple[MultiIndex, float]]:
        """The pairs (k, q[k])."""
        for i in np.ndindex(*self.taps.shape):
            yield tuple(o + j for o, j in zip(self.origin, i, strict=True)), float(self.taps[i])

    def grid(self) -> list[np.ndarray]:
        """k_1, ..., k_d as arrays that broadcast against the taps."""
        axes = [o + np.arange(n) for o, n in zip(self.origin, self.taps.shape, strict=True)]
        return list(np.meshgrid(*axes, indexing="ij", sparse=True))

    # ---- symbol and moments --------------------------------------------------------------------------------------

    def symbol(self, *omega: ArrayLike | float) -> np.ndarray:
        r"""q^(w) = sum_k q[k] e^{-i k.w}, for w = (w_1, ..., w_d): d broadcastable arrays, in radians per sample."""
        if len(omega) != self.ndim:
            raise ValueError(
                f"The symbol of a filter in {self.ndim} dimensions takes {self.ndim} frequencies; got {len(omega)}."
            )
        w = [np.asarray(x, dtype=np.float64) for x in omega]
        waves = (q * np.exp(-1j * sum(k * x for k, x in zip(ks, w, strict=True))) for ks, q in self.indices())
        return np.asarray(reduce(np.add, waves))

    def moment(self, beta: int | Sequence[int]) -> float:
        r"""m_beta = sum_k k^beta q[k], with 0^0 = 1.   (4.1)"""
        return float(np.sum(self._terms(self._index(beta))))

    def vanishes(self, beta: int | Sequence[int]) -> bool:
        """True if m_beta = 0 up to rounding."""
        terms = self._terms(self._index(beta))
        return bool(abs(terms.sum()) <= ROUNDING * np.abs(terms).sum())

    def constant(self, alpha: int | Sequence[int]) -> float:
        r"""C_alpha = (1/alpha!) sum_k k^alpha q[k], with its sign: W_q u ~ C_alpha h^{|alpha|} d^alpha u.   Prop 4.1

        >>> Filter([0.5, -0.5]).constant(1)      # Haar: (u[n] - u[n+1]) / 2 ~ -(h/2) u'
        -0.5

        The approximation supposes that q has vanishing moments of order alpha.
        """
        index = self._index(alpha)
        return self.moment(index) / prod(map(factorial, index))

    def vanishing_order(self) -> MultiIndex | None:
        r"""The alpha for which q has vanishing moments of order alpha, or None where there is none.   (4.1)

        m_alpha != 0, and it is the only non-zero moment with |beta| <= |alpha|. A low-pass filter has alpha = 0.
        """
        leading = next(self._orders())
        return leading[0] if len(leading) == 1 else None

    def total_order(self, allow: int | Sequence[int] | None = None) -> int:
        r"""The largest K with m_beta = 0 for all |beta| < K; `allow` exempts one beta_0.   (4.1)

        `q.total_order()` is the paper's total order K. `q.total_order(allow=alpha)` is the K of "order K \
        {|alpha|+1}" if q has vanishing moments of order alpha and the result exceeds |alpha|: the finite difference
        C_alpha^{-1} h^{-|alpha|} W_q then has accuracy K - |alpha| (Prop 4.1).

        >>> Filter([0.5, 0.0, -0.5]).total_order(), Filter([0.5, 0.0, -0.5]).total_order(allow=1)
        (1, 3)
        """
        exempt = None if allow is None else self._index(allow)
        for nonzero in self._orders():
            left = [beta for beta in nonzero if beta != exempt]
            if left:
                return sum(left[0])
        raise ValueError(f"Every moment but one vanishes: {self} is a single tap at the origin and has no total order.")

    # ---- algebra ------------------------------------------------------------------------------------------------

    def flip(self) -> Filter:
        """q[-.], whose correlation is the convolution with q."""
        origin = [-(o + n - 1) for o, n in zip(self.origin, self.taps.shape, strict=True)]
        return Filter(np.flip(self.taps), origin)

    def dilate(self, step: int) -> Filter:
        r"""q-check_l of (2.2): q[k / step] on step Z^d and 0 elsewhere; step = 2^l is the a-trous filter of level l."""
        if step < 1:
            raise ValueError(f"A filter is dilated by an integer step >= 1, 2^l at level l; got {step}.")
        q = np.zeros([step * (n - 1) + 1 for n in self.taps.shape])
        q[(slice(None, None, step),) * self.ndim] = self.taps
        return Filter(q, [step * o for o in self.origin])

    def convolve(self, other: Filter) -> Filter:
        r"""(p (*) q)[n] = sum_k p[k] q[n - k]."""
        if self.ndim != other.ndim:
            raise ValueError(f"Only filters of equal dimension convolve; got {self.ndim} and {other.ndim}.")
        shape = [a + b - 1 for a, b in zip(self.taps.shape, other.taps.shape, strict=True)]
        out = np.zeros(shape)
        for i in np.ndindex(*self.taps.shape):
            out[tuple(slice(j, j + n) for j, n in zip(i, other.taps.shape, strict=True))] += self.taps[i] * other.taps
        return Filter(out, [a + b for a, b in zip(self.origin, other.origin, strict=True)])

    def parity(self) -> int:
        """+1 if q[-k] = q[k], -1 if q[-k] = -q[k], 0 if neither: what a reflecting boundary asks about."""
        mirror = self.flip()
        if mirror.origin != self.origin:
            return 0
        size = ROUNDING * np.abs(self.taps).max()
        return next((s for s in (1, -1) if np.abs(mirror.taps - s * self.taps).max() <= size), 0)

    # ---- inside -------------------------------------------------------------------------------------------------

    def _index(self, beta: int | Sequence[int]) -> MultiIndex:
        index = (beta,) if isinstance(beta, (int, np.integer)) else tuple(beta)
        if len(index) != self.ndim or any(b < 0 for b in index):
            raise ValueError(
                f"A moment of a filter in {self.ndim} dimensions has {self.ndim} indices >= 0; got {beta}."
            )
        return tuple(int(b) for b in index)

    def _terms(self, beta: MultiIndex) -> np.ndarray:
        """k^beta q[k], all of them."""
        return reduce(
            np.multiply, (k.astype(np.float64) ** b for k, b in zip(self.grid(), beta, strict=True)), self.taps
        )

    def _orders(self) -> Iterator[list[MultiIndex]]:
        """The non-vanishing beta of order 0, of order 1, ..., the empty lists of the first orders left out.

        The moments with beta_i < N_i determine the taps, so a filter that is not zero has one below order sum N_i.
        """
        if not self.taps.any():
            raise ValueError(
                f"The zero filter, here of {self.taps.size} taps, has no vanishing order: all its moments vanish."
            )
        for order in range(2 * sum(self.taps.shape)):
            found = [b for b in multi_indices(self.ndim, order) if not self.vanishes(b)]
            if found:
                yield found


def multi_indices(d: int, order: int) -> list[MultiIndex]:
    """All beta in Z_+^d with |beta| = order, first index falling: (2,0), (1,1), (0,2)."""
    return [b for b in itertools.product(*[range(order, -1, -1)] * d) if sum(b) == order]


def tensor_product(*filters: Filter) -> Filter:
    r"""(q_1 x ... x q_d)[k] = q_1[k_1] ... q_d[k_d]: one filter for each axis, axis x_1 first."""
    taps = reduce(np.multiply.outer, (q.taps for q in filters))
    return Filter(taps, [o for q in filters for o in q.origin])
