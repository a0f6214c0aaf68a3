r"""grad u = (W_ell u / (C_ell h^{|alpha|}))_ell: gradients made of the bands of a filter bank.   Prop 4.1, (4.2)

A filter with vanishing moments of order alpha is a finite difference, W_q u ~ C_alpha h^{|alpha|} d^alpha u. So every
choice of high bands of one level is a gradient, once each band is divided by its constant, sign included:

    haar_gradient       (1,0), (0,1)          +-u over the four corners of a cell, over 2 h: the Roberts cross turned
                        (1,0), (0,1), (1,1)   with the diagonal band, at the weight 2/h of the other two
    spline_gradient     (1,0), (0,1)          central differences, averaged across

The border. Where all filters are symmetric or antisymmetric about 0 (splines of even order) "reflect" mirrors the
picture half a sample outside. Where one is not (Haar) the mirrored picture would count the samples of one border more
than those of the other, and |grad|^2 would grow by up to a third: then only positions count at which every filter lies
inside the picture, and the components are 0 elsewhere. Either way a constant has gradient 0, nothing flows out, and
|grad|^2 is at most what it is on the plane.

Paper: Prop 4.1, (3.1), (4.2).  Notebooks: 05, 07, 08.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from math import pi, prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from companion.operators.banks import bspline
from companion.operators.checks import check_picture
from companion.operators.filters import Filter, tensor_product
from companion.operators.grid import check_boundary, constants, correlate, correlate_adjoint
from companion.operators.linear import LinearOperator

LARGE = 64  # from so many pixels a side the norm of a cut gradient is that on the plane, to 0.1 % for Haar


class FrameGradient(LinearOperator):
    r"""u -> (W_ell u / (C_ell h^{|alpha|}))_ell: (*batch, *space) -> (*batch, r, *space).   Prop 4.1

    bank      one-dimensional Filters (p, q_1, ...), used as tensor products: bspline(m)
    bands     the r bands ell = (ell_1, ..., ell_d), which filter along which axis; by default (1,0), (0,1): the
              tensor products of q_1 along one axis with the low-pass p along the others
    h, dim    the grid step and d
    boundary  "reflect" or "periodic"; see above
    weights   one factor for each band in place of 1 / (C_ell h^{|alpha|})

    Every component approximates d^alpha u where its filters have vanishing moments of order alpha: C_ell =
    (1/alpha!) sum_k k^alpha q_ell[k], with its sign. It is taken at the centre of the filters: for Haar at n + 1/2.

    Raises ValueError for a bank of other dimension, for no such band, for the low-pass, which is no derivative, and for
    a picture smaller than the filters.

    >>> FrameGradient(bspline(1), h=0.5, dim=1)(torch.tensor([0., 1., 3.]))
    tensor([[2., 4., 0.]])
    """

    def __init__(
        self,
        bank: Sequence[Filter],
        bands: Sequence[Sequence[int]] | None = None,
        h: float = 1.0,
        dim: int = 2,
        boundary: str = "reflect",
        weights: Sequence[float] | None = None,
    ):
        super().__init__()
        check_boundary(boundary)
        if not h > 0:
            raise ValueError(f"The grid step h is a length > 0; got h={h}. On the unit square it is 1/N.")
        if any(q.ndim != 1 for q in bank):
            raise ValueError(
                f"A gradient is made of tensor products of one-dimensional filters; got dimension {bank[0].ndim}."
            )
        self.bank, self.h, self.dim, self.boundary = tuple(bank), float(h), dim, boundary
        self.bands = tuple(tuple(int(i == j) for j in range(dim)) for i in range(dim))
        if bands is not None:
            self.bands = tuple(map(tuple, bands))
        for ell in self.bands:
            if len(ell) != dim or not any(ell) or not all(0 <= i < len(bank) for i in ell):
                raise ValueError(
                    f"A band is {dim} indices of the filters 0, ..., {len(bank) - 1}, not all 0, for the low-pass is "
                    f"no derivative; got {ell}."
                )
        if weights is None:
            weights = [1 / self._constant(ell) for ell in self.bands]
        if len(weights) != len(self.bands):
            raise ValueError(f"There is one weight for each of {len(self.bands)} bands; got {len(weights)}.")
        self.weights = tuple(map(float, weights))
        self.filters = tuple(
            Filter(w * q.taps, q.origin)
            for w, q in zip(self.weights, (tensor_product(*(bank[i] for i in ell)) for ell in self.bands), strict=True)
        )
        used = [self.bank[i] for ell in self.bands for i in ell]
        self.left = max(max(-q.origin[0], 0) for q in used)
        self.right = max(max(q.origin[0] + len(q.taps) - 1, 0) for q in used)
        self.cut = boundary == "reflect" and any(q.parity() == 0 for q in used)

    def _constant(self, ell: Sequence[int]) -> float:
        """C_ell h^{|alpha|}."""
        orders = [self.bank[i].vanishing_order() or (0,) for i in ell]
        constants = [self.bank[i].constant(alpha) for i, alpha in zip(ell, orders, strict=True)]
        return prod(constants) * self.h ** sum(alpha[0] for alpha in orders)

    # ---- grad and grad^T ----------------------------------------------------------------------------------------

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        self._check(u, "u", self.dim)
        return torch.stack([self._inside(correlate(u, *self._taps(u, q))) for q in self.filters], -self.dim - 1)

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """grad^T p = sum_ell W_ell^T p_ell / (C_ell h^{|alpha|}) ~ -div p."""
        self._check(f, "p", self.dim + 1)
        if f.shape[-self.dim - 1] != len(self.filters):
            raise ValueError(
                f"p must have one component for each of the {len(self.filters)} bands, on axis {-self.dim - 1}; got "
                f"shape {tuple(f.shape)}."
            )
        parts = [
            correlate_adjoint(self._inside(p), *self._taps(p, q))
            for p, q in zip(f.unbind(-self.dim - 1), self.filters, strict=True)
        ]
        return functools.reduce(torch.add, parts)

    def _taps(self, like: Tensor, q: Filter) -> tuple:
        """The arguments of a correlation: taps, origin, axes, step, boundary, which taps vanish."""
        values = q.taps.ravel().tolist()
        taps = constants(*values, like=like).reshape(q.taps.shape)
        return taps, q.origin, tuple(range(-self.dim, 0)), 1, self.boundary, tuple(value == 0 for value in values)

    def _inside(self, v: Tensor) -> Tensor:
        """v where all filters lie inside the picture, 0 elsewhere; its own adjoint."""
        if not self.cut:
            return v
        for axis in range(-self.dim, 0):
            v = v.narrow(axis, self.left, v.shape[axis] - self.left - self.right)
        return torch.nn.functional.pad(v, (self.left, self.right) * self.dim)

    # ---- its size -----------------------------------------------------------------------------------------------

    def _square(self, frequencies: Sequence[np.ndarray]) -> np.ndarray:
        """sum_ell |w_ell q_ell^(w)|^2 on the grid of the given frequencies, one array for each axis."""
        lines = {(i, j): abs(q.symbol(w)) ** 2 for i, q in enumerate(self.bank) for j, w in enumerate(frequencies)}
        total = np.zeros([len(w) for w in frequencies])
        for ell, weight in zip(self.bands, self.weights, strict=True):
            total += weight**2 * functools.reduce(np.multiply.outer, (lines[i, j] for j, i in enumerate(ell)))
        return total

    @property
    def bound(self) -> float:
        r"""sup |grad|^2 over all sizes of pictures: max_w sum_ell |q_ell^(w)|^2 / (C_ell h^{|alpha|})^2.

        4/h^2 for Haar, with two bands or three; 1/h^2 for the pair of linear splines. On a grid of 64 frequencies, then
        in ever smaller boxes about the largest value, to rounding.
        """
        return _bound(self.bank, self.bands, self.weights, self.dim)

    def spectrum(self, shape: Sequence[int]) -> Tensor:
        r"""sum_ell |q_ell^(w)|^2 / (C_ell h^{|alpha|})^2, w = 2 pi k / shape: eigenvalues of grad^T grad on a torus.

        With a mirrored border those on n points are these at w = pi k / n: a torus of twice the size. With a cut border
        (Haar, "reflect") there is no such form.
        """
        return torch.from_numpy(self._square([2 * pi * np.arange(n) / n for n in shape]))

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """max |q^| over the frequencies of the grid; with a cut border by power iteration, from 64 pixels a side
        sqrt(bound), which is less than 0.1 % above for Haar, 0.3 % for bspline(3).
        """
        self._check(like, "u", self.dim)
        space = like.shape[-self.dim :]
        if self.cut:
            return like.new_tensor(self.bound**0.5) if min(space) >= LARGE else super().norm(like, k, tol)
        period = 2 * pi if self.boundary == "periodic" else pi
        return like.new_tensor(float(self._square([period * np.arange(n) / n for n in space]).max()) ** 0.5)

    @property
    def per_pixel(self) -> FrameGradient:
        """h grad, whose norm does not grow as the grid is refined (for bands of first order)."""
        weights = [self.h * w for w in self.weights]
        return FrameGradient(self.bank, self.bands, 1.0, self.dim, self.boundary, weights)

    def squared(self) -> FrameGradient:
        """The operator whose taps are the squares: its adjoint, on c, is the diagonal of grad^T diag(c) grad, but for
        what a mirrored border folds together.
        """
        other = copy.copy(self)
        other.filters = tuple(Filter(q.taps**2, q.origin) for q in self.filters)
        return other

    def extra_repr(self) -> str:
        return f"bands={self.bands}, h={self.h:g}, boundary={self.boundary!r}"

    def _check(self, u: Tensor, name: str, rank: int) -> None:
        check_picture(u, name, rank)
        least = self.left + self.right + 1
        if min(u.shape[-self.dim :]) < least:
            raise ValueError(
                f"The filters of the gradient are {least} samples long; the picture has {tuple(u.shape[-self.dim :])}. "
                "Use a larger picture or shorter filters."
            )


def supremum(square: Callable[[Sequence[np.ndarray]], np.ndarray], dim: int) -> float:
    """max_w of a symbol, given on the grid of the frequencies of each axis: on 64 of them a side, then in ever smaller
    boxes about the largest value, to rounding.
    """
    frequencies, width, value = [2 * pi * np.arange(64) / 64] * dim, 2 * pi / 64, 0.0
    while width > 1e-9:
        values = square(frequencies)
        best = np.unravel_index(int(values.argmax()), values.shape)
        value = max(value, float(values.max()))
        frequencies = [w[i] + width * np.linspace(-2, 2, 9) for w, i in zip(frequencies, best, strict=True)]
        width *= 0.7  # slowly: the largest value may lie on a ridge
    return value


@functools.lru_cache(maxsize=256)
def _bound(bank: tuple[Filter, ...], bands: tuple[tuple[int, ...], ...], weights: tuple[float, ...], dim: int) -> float:
    return supremum(FrameGradient(bank, bands, dim=dim, weights=weights)._square, dim)


def haar_gradient(h: float = 1.0, bands: int = 2, boundary: str = "reflect") -> FrameGradient:
    r"""(u_10, u_01) of Haar over -h/2: |grad u|^2 = ((d - a)^2 + (b - c)^2) / (2 h^2) on a cell with corners a b; c d.

    bands  2, or 3: the diagonal band (a - b - c + d)/4 as well, at the weight 2/h

    Two bands see the two diagonals of a cell apart: a checkerboard costs nothing. The third band charges for it.

    >>> haar_gradient()(torch.tensor([[0., 0.], [1., 1.]]))[:, 0, 0]
    tensor([1., 0.])
    """
    if bands not in (2, 3):
        raise ValueError(f"Haar has 2 bands of first order in the plane, and 3 bands in all; got bands={bands}.")
    weights = (-2 / h, -2 / h, 2 / h)[:bands] if h > 0 else None  # h <= 0 is answered below
    return FrameGradient(bspline(1), ((1, 0), (0, 1), (1, 1))[:bands], h, 2, boundary, weights)


def spline_gradient(h: float = 1.0, boundary: str = "reflect") -> FrameGradient:
    r"""(u_10, u_01) of linear splines over -h/sqrt 2: central differences, averaged across with [1, 2, 1]/4.

    Blind to checkerboards and to stripes of one pixel.

    >>> spline_gradient(boundary="periodic")(torch.eye(4))[0, :, 0]
    tensor([ 0.0000, -0.2500,  0.0000,  0.2500])
    """
    return FrameGradient(bspline(2), h=h, boundary=boundary)
