r"""{q_0 = p, q_1, ..., q_r}: filter banks and the extension principles that make them frames.   Ex 2.1, (2.3)

    UEP  sum_l |q_l^(w)|^2 = 1                 and  sum_l q_l^(w) conj q_l^(w + pi) = 0
    MEP  sum_l q~_l^(w) conj q_l^(w) = 1       and  sum_l q~_l^(w) conj q_l^(w + pi) = 0

(the unitary and the mixed extension principle), with p^(0) = p~^(0) = 1. The first line of each says that the
undecimated transform reconstructs, W~^T W = I on every grid and at every level. The second is needed besides for the
functions psi_l = 2 sum_k q_l[k] phi(2.-k) to be a tight frame of L_2 with bound 1 (UEP), or for psi_l and psi~_l to be
dual frames of L_2 provided both systems are Bessel (MEP; the proviso is not checked: p~ of `biorthogonal(3, 1)` and
`(4, 2)` has no refinable function in L_2, and the undecimated pair reconstructs all the same). `extension_residual`
returns both defects, computed from the taps, so exactly and at all frequencies at once.

The B-spline banks have a closed form for every order m. With j = m mod 2,

    q_l^(w) = i^{l mod 2} e^{-i j w/2} sqrt(binom(m, l)) cos(w/2)^{m-l} sin(w/2)^l,      l = 0, ..., m,

and the UEP is the binomial theorem: sum_l |q_l^|^2 = (cos^2 + sin^2)^m = 1. In taps, with z = e^{-iw},

    2^m q_l^ = (-1)^{floor(l/2)} sqrt(binom(m, l)) z^{-floor(m/2)} (1 + z)^{m-l} (1 - z)^l.

The sign makes the taps those of Example 2.1: m = 1 is Haar, m = 2 piecewise linear; m = 4 is the cubic system.

Paper: Ex 2.1, (2.3).  Notebook: 02.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt

import numpy as np

from companion.operators.filters import Filter

Bank = tuple[Filter, ...]
TOLERANCE = 1e-10


def bspline_integers(m: int) -> list[tuple[int, list[int]]]:
    r"""The exact bank of order m: for each l the pair (binom(m, l), integer taps c) with q_l = sqrt(binom) c / 2^m.

    >>> bspline_integers(2)
    [(1, [1, 2, 1]), (2, [1, 0, -1]), (1, [-1, 2, -1])]
    """
    if not isinstance(m, int) or m < 1:
        raise ValueError(f"The order m of a B-spline is an integer >= 1 (1 Haar, 2 linear, 4 cubic); got {m!r}.")
    bank = []
    for ell in range(m + 1):
        c = [1]
        for sign in [1] * (m - ell) + [-1] * ell:  # multiply by 1 + z, then by 1 - z
            c = [a + sign * b for a, b in zip([*c, 0], [0, *c], strict=True)]
        bank.append((comb(m, ell), [(-1) ** (ell // 2) * a for a in c]))
    return bank


def bspline(order: int) -> Bank:
    r"""2^m q_l^ = (-1)^{floor(l/2)} sqrt(binom(m, l)) z^{-floor(m/2)} (1 + z)^{m-l} (1 - z)^l, l = 0, ..., m.   Ex 2.1

    The tight bank of order m, z = e^{-iw}.

    order  m >= 1: 1 Haar, 2 piecewise linear, 3 quadratic, 4 cubic. Filter q_l has l vanishing moments.

    >>> bspline(1)
    (Filter([0.5, 0.5], origin=0), Filter([ 0.5, -0.5], origin=0))
    """
    return tuple(Filter([sqrt(b) * c / 2**order for c in taps], -(order // 2)) for b, taps in bspline_integers(order))


def dct(size: int) -> Bank:
    r"""q_l[k] = c_l cos(pi l (2k + 1) / (2p)) / p for k, l = 0, ..., p - 1: the cosine bank.   (2.3)

    c_0 = 1, c_l = sqrt 2 for l > 0, and k counts the taps. The sqrt(p) q_l are the orthonormal cosine basis of R^p, so
    sum_l q_l[j] q_l[k] = delta_{jk} / p, and W^T W = I. The second condition of the extension principle holds for p
    even. Filter q_l, l > 0, has one vanishing moment for l odd, two for l even.

    size  p >= 2; 2 is Haar. The taps stand at -floor((p-1)/2), ... as those of every `Filter`

    >>> dct(2)
    (Filter([0.5, 0.5], origin=0), Filter([ 0.5, -0.5], origin=0))
    """
    if not isinstance(size, int) or size < 2:
        raise ValueError(f"A cosine bank has p >= 2 filters of p taps (2 is Haar); got {size!r}.")
    angles = [[(ell * (2 * k + 1) % (4 * size)) * np.pi / (2 * size) for k in range(size)] for ell in range(size)]
    return tuple(Filter(np.cos(a) * (sqrt(2) if ell else 1) / size) for ell, a in enumerate(angles))


def biorthogonal(order: int, dual_order: int) -> tuple[Bank, Bank]:
    r"""p^ = e^{-ijw/2} cos^m(w/2), p~^ = e^{-ijw/2} cos^m~(w/2) P(sin^2(w/2)), j = m mod 2: dual for every m + m~ even.

    The spline pairs of Cohen, Daubechies and Feauveau, read as undecimated dual frames: P(x) = sum_{i<K}
    binom(K-1+i, i) x^i, K = (m + m~)/2. With q^ = e^{-iw} conj p~^(w + pi) and q~^ = e^{-iw} conj p^(w + pi) the mixed
    extension principle is the identity c^K P(1 - c) + (1 - c)^K P(c) = 1, at c = cos^2(w/2), for P of degree K - 1.
    Both low-pass filters are centred at 0 (even orders) or at 1/2 (odd orders); q has m~ and q~ has m vanishing
    moments.

    Returns (bank, dual bank). Raises ValueError unless both orders are >= 1 and their sum is even.
    """
    if order < 1 or dual_order < 1 or (order + dual_order) % 2:
        raise ValueError(f"A spline dual pair needs orders m, m~ >= 1 of equal parity; got m={order}, m~={dual_order}.")
    K = (order + dual_order) // 2
    p = bspline(order)[0]
    sin2 = Filter([-0.25, 0.5, -0.25])
    power, series = Filter([1.0]), np.zeros(1)
    for j in range(K):
        centre = (len(power.taps) - len(series)) // 2
        series = np.pad(series, centre) + comb(K - 1 + j, j) * power.taps
        power = power.convolve(sin2)
    p_dual = bspline(dual_order)[0].convolve(Filter(series))
    return (p, _mirror(p_dual)), (p_dual, _mirror(p))


def _mirror(p: Filter) -> Filter:
    r"""q[k] = (-1)^{1-k} p[1 - k]: the filter with symbol e^{-iw} conj p^(w + pi)."""
    taps = p.taps[::-1].copy()
    origin = 1 - (p.origin[0] + len(taps) - 1)
    return Filter([(-1) ** (1 - origin - i) * t for i, t in enumerate(taps)], origin)


def extension_residual(bank: Sequence[Filter], dual: Sequence[Filter] | None = None) -> tuple[float, float]:
    r"""The defects of the two extension-principle conditions: max over n of |sum_l sum_k (+-1)^k q~_l[k + n] q_l[k] -
    (delta_n or 0)|.

    bank, dual   filters of one dimension d each; dual defaults to the bank itself (UEP), else the MEP is measured
    Returns      (first, second): Fourier coefficients of "sum = 1" and, the largest over the shifts pi nu, nu in
                 {0,1}^d - {0}, of "sum = 0"; both 0 up to rounding where the extension principle holds.
    """
    d = bank[0].ndim
    dual = bank if dual is None else dual
    if len(dual) != len(bank):
        raise ValueError(f"A dual bank pairs with its bank filter by filter; got {len(bank)} and {len(dual)} filters.")
    first, second = 0.0, 0.0
    for nu in np.ndindex(*(2,) * d):
        total: dict[tuple[int, ...], float] = {(0,) * d: -1.0 if not any(nu) else 0.0}
        for q, q_dual in zip(bank, dual, strict=True):
            for k, a in q.indices():
                sign = (-1) ** sum(i * j for i, j in zip(nu, k, strict=True))
                for j, b in q_dual.indices():
                    n = tuple(x - y for x, y in zip(j, k, strict=True))
                    total[n] = total.get(n, 0.0) + sign * a * b
        defect = max(abs(x) for x in total.values())
        first, second = (defect, second) if not any(nu) else (first, max(second, defect))
    return first, second


def check_bank(bank: Sequence[Filter], dual: Sequence[Filter] | None = None) -> None:
    r"""Raise ValueError unless the bank (with its dual) reconstructs: p^(0) = 1 and sum_l q~_l^ conj q_l^ = 1.

    The sum is what W~^T W = I asks for; p^(0) = 1 makes band 0 an average. The second condition of the extension
    principle concerns functions, not the undecimated transform, and is not demanded; ask `extension_residual` for it.
    """
    for name, filters in (("bank", bank), ("dual bank", dual)):
        if filters is None and name == "dual bank":
            continue
        if (
            not isinstance(filters, (list, tuple))
            or len(filters) < 2
            or not all(isinstance(q, Filter) for q in filters)
        ):
            raise ValueError(
                f"The {name} must be a sequence of at least two Filters, the low-pass p first; got {filters!r}."
            )
        if len({q.ndim for q in filters}) > 1:
            raise ValueError(
                f"All filters of the {name} must have the same dimension; got {[q.ndim for q in filters]}."
            )
        mass = filters[0].taps.sum()
        if abs(mass - 1) > TOLERANCE:
            raise ValueError(
                f"The filters fail the extension principle: the first of the {name} must be a low-pass with "
                f"p^(0) = sum p[k] = 1, but its taps {filters[0].taps.tolist()} sum to {mass:.4g}. "
                "Is a tap mis-typed? Haar is [1, 1]/2."
            )
    if dual is not None and dual[0].ndim != bank[0].ndim:
        raise ValueError(f"A dual bank has its bank's dimension; got {bank[0].ndim} and {dual[0].ndim}.")
    defect = extension_residual(bank, dual)[0]
    if defect > TOLERANCE:
        if dual is None:
            raise ValueError(
                "The filters fail the unitary extension principle: sum_l |q_l^(w)|^2 = 1 does not hold, a Fourier "
                f"coefficient of it is off by {defect:.4g}, so W^T W is not I. Correct a tap or its factor, or give "
                "dual=... filters that satisfy the mixed extension principle with these."
            )
        raise ValueError(
            "The filters fail the mixed extension principle: sum_l q~_l^(w) conj q_l^(w) = 1 does not hold, a Fourier "
            f"coefficient of it is off by {defect:.4g}, so W~^T W is not I. `biorthogonal(m, m~)` gives dual pairs."
        )


def check_reflection(filters: Sequence[Filter]) -> None:
    r"""Raise ValueError unless every filter is symmetric or antisymmetric about 0, so that reflection keeps W~^T W = I.

    The picture, reflected half a sample outside, is 2N-periodic and symmetric about -1/2. Such a filter makes bands of
    the same symmetry or its negative, which N samples determine, each counted twice. Another filter counts samples at
    the border with unequal weight: for Haar, W^T W = diag(1/2, 1, ..., 1, 3/2). (The condition is sufficient, not
    necessary: a filter and its mirror image may make up for each other.)
    """
    for q in filters:
        if q.ndim == 1 and q.parity() == 0:
            raise ValueError(
                f"A reflecting boundary is accepted where it surely keeps W~^T W = I: for filters symmetric or "
                f"antisymmetric about 0. {q} is neither. "
                'Use boundary="periodic", or a spline of even order: bspline(2), bspline(4).'
            )
        if q.ndim > 1:
            raise ValueError(
                "A reflecting boundary is for one-dimensional banks used as tensor products; this filter has "
                f'dimension {q.ndim}. Use boundary="periodic".'
            )


def check_sizes(bank: Sequence[Filter], levels: int, dim: int) -> None:
    """Raise ValueError unless levels >= 1, dim is 1, 2 or 3, and the filters have dimension 1 or dim."""
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise ValueError(f"levels = L + 1 counts the levels l = 0, ..., L and is an integer >= 1; got {levels!r}.")
    if dim not in (1, 2, 3):
        raise ValueError(f"The transform is written for dim = 1, 2 or 3; got {dim!r}.")
    if bank[0].ndim not in (1, dim):
        raise ValueError(
            f"Filters of dimension {bank[0].ndim} do not act on pictures of dimension {dim}: use 1 or {dim}."
        )
