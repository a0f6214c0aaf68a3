r"""W u = {W_{l,L} u : (l, L) in B},  W_{l,L} u = q_{l,L}[-.] (*) u: the fast framelet transform.   (2.1)-(2.3)

The filters of level l are (2.2) with its index order corrected (the paper prints q-check_{l-1,0} ... q-check_{0,0},
which from level 2 on averages with detail filters, and beyond level r asks for filters that do not exist):

    q_{ell,l} = q-check_{ell,l} (*) q-check_{0,l-1} (*) ... (*) q-check_{0,0},
    q-check_{ell,l}[2^l k] = q_ell[k], and 0 off the lattice 2^l Z^d.

That is a cascade: correlate the picture with the d-dimensional bank, keep the r high bands, and go on with the low
band and filters dilated by 2 ("a trous"). Nothing is subsampled, so every band has the size of the picture, W
commutes with shifts on the torus, and with the UEP W^T W = I (2.3); with a dual bank W~^T W = I. In d dimensions a
bank of one-dimensional filters is used as a tensor product, one axis after the other: a few operations a coefficient.

Paper: (2.1), (2.2), (2.3), Ex 2.1.  Notebook: 02.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from companion.kernels.frames import analysis, cascade, synthesis
from companion.operators.banks import TOLERANCE, Bank, check_bank, check_reflection, check_sizes, extension_residual
from companion.operators.checks import check_finite, check_kind, check_picture
from companion.operators.filters import Filter, tensor_product
from companion.operators.grid import check_boundary, correlate, correlate_adjoint
from companion.operators.linear import LinearOperator, check_rho


class Band(NamedTuple):
    """(ell, l) of (2.1): `ell` says which filter acts along each axis, x_1 first; `level` is l = 0, ..., L."""

    ell: tuple[int, ...]
    level: int

    @property
    def low(self) -> bool:
        """True for the average (0, L), the one band that is never thresholded."""
        return not any(self.ell)


class FrameletTransform(LinearOperator):
    r"""W u = (q_{ell,l}[-.] (*) u)_{(ell,l) in B}, B = {(ell, l): 1 <= ell <= r, 0 <= l <= L} + {(0, L)}.   (2.1)

    r counts the high bands of the products of filters: 3 for Haar in the plane, 8 for piecewise linear.

    bank      Filters (p, q_1, ..., q_r): one-dimensional (used as a tensor product) or of dimension `dim`
    levels    L + 1 >= 1
    dim       d = 1, 2 or 3: the last d axes are the picture (axis -d is x_1), all before are batch
    boundary  "periodic", or "reflect" where every filter is symmetric or antisymmetric about 0 (splines of even order)
    dual      a dual bank; then W~^T W = I with W~ = `W.dual`, and W itself need not be tight   (2.3)

    W(u)      (*batch, *space) -> (*batch, band, *space), real floating point
    W.T(d)    the adjoint, back to (*batch, *space)
    W.bands   the `Band` of each entry of the band axis: the average first, then level 0 (finest), level 1, ...;
              within a level in order of |ell|, so for d = 2: (1,0), (0,1), then (2,0), (1,1), (0,2), ...

    Raises ValueError for a bank that does not reconstruct, levels < 1, dim not in {1, 2, 3}, a boundary that breaks
    W~^T W = I, and in use for an input of wrong rank, type or device, with NaN, or smaller than the dilated filter.

    >>> from companion import bspline
    >>> W = FrameletTransform(bspline(1), levels=2)
    >>> W(torch.ones(8, 8)).shape, len(W.bands)
    (torch.Size([7, 8, 8]), 7)
    """

    q0: Tensor

    def __init__(
        self,
        bank: Sequence[Filter],
        levels: int = 1,
        dim: int = 2,
        boundary: str = "periodic",
        dual: Sequence[Filter] | None = None,
    ):
        super().__init__()
        check_bank(bank, dual)
        check_boundary(boundary)
        check_sizes(bank, levels, dim)
        if boundary == "reflect":
            check_reflection((*bank, *(dual or ())))
        self.levels, self.dim, self.boundary = levels, dim, boundary
        self.bank: Bank = tuple(bank)
        self.dual_bank: Bank | None = tuple(dual) if dual is not None else None
        self.tight = dual is None or extension_residual(bank)[0] <= TOLERANCE
        self.separable = bank[0].ndim == 1
        self._reach = [max(q.taps.shape[i % q.ndim] - 1 for q in bank) * 2 ** (levels - 1) + 1 for i in range(dim)]
        indices = itertools.product(range(len(bank)), repeat=dim if self.separable else 1)
        self.indices = sorted(indices, key=lambda index: (sum(index), [-i for i in index]))
        self.bands: tuple[Band, ...] = (
            Band(self.indices[0], levels - 1),
            *(Band(index, level) for level in range(levels) for index in self.indices[1:]),
        )
        self._zero = [tuple((q.taps == 0).ravel().tolist()) for q in self.bank]
        for ell, q in enumerate(self.bank):
            self.register_buffer(f"q{ell}", torch.tensor(q.taps, dtype=torch.float64))

    # ---- W and W^T ----------------------------------------------------------------------------------------------

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """W u: the cascade (2.2), (*batch, *space) -> (*batch, band, *space)."""
        self._check(u, "u", self.dim)
        if form := cascade(self, u):
            return analysis(u, form)
        a, high = u, []
        for level in range(self.levels):
            parts = self._split(a, 2**level)
            a = parts[self.indices[0]]
            high += [parts[index] for index in self.indices[1:]]
        return torch.stack([a, *high], dim=-self.dim - 1)

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """W^T d: the cascade backwards, (*batch, band, *space) -> (*batch, *space)."""
        self._check(f, "d", self.dim + 1, check_kind)
        if f.shape[-self.dim - 1] != len(self.bands):
            raise ValueError(
                f"W^T takes the {len(self.bands)} bands of W = {self}, on axis -{self.dim + 1}; the coefficients have "
                f"{f.shape[-self.dim - 1]}, of another transform. Compare the orders and levels."
            )
        if form := cascade(self, f.select(-self.dim - 1, 0)):
            return check_finite(f, "d", image=synthesis(f, form))
        check_finite(f, "d")
        a, *high = f.unbind(-self.dim - 1)
        r = len(self.indices) - 1
        for level in reversed(range(self.levels)):
            parts = dict(zip(self.indices, [a, *high[level * r : (level + 1) * r]], strict=True))
            a = self._merge(parts, 2**level)
        return a

    def _split(self, a: Tensor, step: int) -> dict[tuple[int, ...], Tensor]:
        """One level: {index: q_index dilated by step, correlated with a}, one axis after the other."""
        filters, (*first, last) = self._filters(a), self._axes()
        for axes in first:  # what one axis makes lies side by side for the next: few operations, on many bands each
            a = torch.stack([correlate(a, q, k, axes, step, self.boundary, zero) for q, k, zero in filters])
        ends = [correlate(a, q, k, last, step, self.boundary, zero) for q, k, zero in filters]
        return {index: ends[index[-1]][index[-2::-1]] for index in self.indices}

    def _merge(self, parts: dict[tuple[int, ...], Tensor], step: int) -> Tensor:
        """The adjoint of `_split`: the last axis first."""
        filters, heads = self._filters(parts[self.indices[0]]), sorted({index[:-1] for index in self.indices})
        sides: Iterable[Tensor] = (torch.stack([parts[(*head, ell)] for head in heads]) for ell in range(len(filters)))
        for axes in reversed(self._axes()):
            each = zip(sides, filters, strict=True)
            terms = (correlate_adjoint(d, q, k, axes, step, self.boundary, zero) for d, (q, k, zero) in each)
            a = functools.reduce(torch.add, terms)
            sides = [a[ell :: len(filters)] for ell in range(len(filters))]
        return a[0]

    def _axes(self) -> list[tuple[int, ...]]:
        """The axes each filter acts on: one at a time for a tensor product, else all at once."""
        space = tuple(range(-self.dim, 0))
        return [(axis,) for axis in space] if self.separable else [space]

    def _filters(self, like: Tensor) -> list[tuple[Tensor, tuple[int, ...], tuple[bool, ...]]]:
        """Taps, origin, and which taps vanish, of every filter; a tap that is learned may leave 0."""
        taps = [getattr(self, f"q{ell}") for ell in range(len(self.bank))]
        flags = [() if q.requires_grad else zero for q, zero in zip(taps, self._zero, strict=True)]
        return [(q.to(like.dtype), known.origin, zero) for q, known, zero in zip(taps, self.bank, flags, strict=True)]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrameletTransform:
        """Move, as every Module, but keep the taps in float64: the type of the result is the picture's."""
        super()._apply(fn, recurse)
        for name, q in self.named_buffers():
            if q.dtype != torch.float64:
                setattr(self, name, torch.tensor(self.bank[int(name[1:])].taps, device=q.device))
        return self

    @property
    def device(self) -> torch.device:
        """Where the filters live, and so where W acts."""
        return self.q0.device

    # ---- what goes with W ---------------------------------------------------------------------------------------

    @property
    def dual(self) -> FrameletTransform:
        r"""W~ with W~^T W = I: W itself if it is tight."""
        if self.dual_bank is None:
            return self
        return FrameletTransform(self.dual_bank, self.levels, self.dim, self.boundary, dual=self.bank).to(self.device)

    def band(self, ell: int | Sequence[int], level: int = 0) -> int:
        """Where the band (ell, level) stands on the band axis."""
        wanted = Band(_index(ell), level)
        if wanted not in self.bands:
            raise ValueError(f"There is no band {tuple(wanted)}; the bands are {[tuple(b) for b in self.bands]}.")
        return self.bands.index(wanted)

    def weights(self, lam: float | Tensor, decay: float = 1.0) -> Tensor:
        r"""lambda_{ell,l} = lam decay^l, and 0 on the average: (band, 1, ..., 1), for lam . d of (2.5) by broadcasting.

        lam    one number, or one for each band, such as 3 * sigma * W.gains

        >>> from companion import bspline
        >>> FrameletTransform(bspline(1), levels=2, dim=1).weights(0.5, decay=0.5).flatten()
        tensor([0.0000, 0.5000, 0.2500], dtype=torch.float64)
        """
        values, shape = torch.as_tensor(lam, dtype=torch.float64, device=self.device), (-1, *[1] * self.dim)
        if not bool((values >= 0).all()) or values.numel() not in (1, len(self.bands)):
            raise ValueError(
                f"A threshold lam is one number >= 0, or one for each of {len(self.bands)} bands; got {lam}."
            )
        fall = [0.0 if band.low else decay**band.level for band in self.bands]
        return values.reshape(shape) * torch.tensor(fall, dtype=torch.float64, device=self.device).reshape(shape)

    @property
    def gains(self) -> Tensor:
        r"""|q_{ell,l}|_2, (band, 1, ..., 1): white noise of deviation sigma has sigma |q_{ell,l}|_2 in that band.

        Exact on a periodic grid at least as large as the filter q_{ell,l}; at a reflecting border, the value inside.
        """
        norms = [float((self.filter(*band).taps ** 2).sum()) ** 0.5 for band in self.bands]
        return torch.tensor(norms, dtype=torch.float64, device=self.device).reshape(-1, *[1] * self.dim)

    def filter(self, ell: int | Sequence[int], level: int = 0) -> Filter:
        """q_{ell,l} of (2.2), a d-dimensional filter: what the cascade amounts to in the band (ell, l)."""

        def cascade(i: int) -> Filter:
            q = self.bank[i].dilate(2**level)
            for below in reversed(range(level)):
                q = q.convolve(self.bank[0].dilate(2**below))
            return q

        if _index(ell) not in self.indices:
            raise ValueError(f"There is no filter {_index(ell)}; in dimension {self.dim} the bank has {self.indices}.")
        return tensor_product(*map(cascade, _index(ell))) if self.separable else cascade(_index(ell)[0])

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """||W|| = 1 if W is tight, else by power iteration."""
        return torch.ones((), dtype=like.dtype, device=like.device) if self.tight else super().norm(like, k, tol)

    def normal_solve(self, v: Tensor, rho: float | Tensor, tol: float | None = None, k: int = 1000) -> Tensor:
        """(W^T W + rho I)^{-1} v = v / (1 + rho) if W is tight, else by conjugate gradients."""
        check_rho(rho)
        return v / (1 + rho) if self.tight else super().normal_solve(v, rho, tol, k)

    def __repr__(self) -> str:
        size = f"{len(self.bank)} filters, {self.levels} levels, dim={self.dim}"
        return f"FrameletTransform({size}, {self.boundary}, {'tight' if self.tight else 'with a dual'})"

    def _check(self, u: Tensor, name: str, rank: int, check: Callable[..., None] = check_picture) -> None:
        check(u, name, rank, self.device)
        for axis, (n, reach) in enumerate(zip(u.shape[-self.dim :], self._reach, strict=True)):
            if n < reach:
                raise ValueError(
                    f"At level l = {self.levels - 1} the dilated filters are {reach} samples long, but the picture "
                    f"has only {n} along axis {axis - self.dim}. Use fewer levels or a larger picture."
                )


def _index(ell: int | Sequence[int]) -> tuple[int, ...]:
    return (ell,) if isinstance(ell, int) else tuple(ell)
