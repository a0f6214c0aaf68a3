r"""u^{k+1} = Q_00 u^k + dt sum_alpha c_alpha(x, y) Q_alpha u^k: PDE-Net 1.0, linear with variable coefficients.   [102]

    LinearRightSide   F(u) = sum_alpha c_alpha(x, y) Q_alpha u (+ s(u)), a field
    PDENet1           k equal steps Q_00 u + dt F(u): a list of maps, run once through by `run`

The c_alpha are piecewise quadratic on a mesh, the source s is a function of the value of u alone, piecewise quartic.
Everything that is learned enters linearly but the filters; with the filters frozen one block is a problem of least
squares.

Source: Long, Lu, Ma and Dong, PDE-Net (2018), [102], and its code.
Paper: Section 5.2, (5.5)-(5.7).  Notebook: 12.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.schemes import Euler
from companion.nets.interpolant import Interpolant
from companion.nets.moments import MomentBank, central
from companion.nets.pdenet import PDENet, feature_names

ORDERS4 = [(i, s - i) for s in range(1, 5) for i in range(s, -1, -1)]


class LinearRightSide(nn.Module):
    r"""F(u)(x, y) = sum_alpha c_alpha(x, y) (h^{-|alpha|} Q_alpha u)(x, y) + s(u(x, y)), (*batch, N, N) -> the same.

    bank          the filters Q_alpha
    coefficients  an Interpolant in two dimensions, one function for each filter: several = (F,), or (S, F) for S nets
    grid          N; the points are (i h, j h), 0 <= i, j < N
    source        an Interpolant in one dimension, several = () or (S,); None for a linear equation

    The interpolants are evaluated on the grid once: c_alpha = A values A^T with a matrix A.
    """

    A: Tensor

    def __init__(self, bank: MomentBank, coefficients: Interpolant, grid: int, source: Interpolant | None = None):
        super().__init__()
        nets = () if bank.nets is None else (bank.nets,)
        several = coefficients.values.shape[:-2]
        if coefficients.dim != 2 or several != (*nets, len(bank.orders)):
            raise ValueError(
                f"Each filter has a coefficient c(x, y), an Interpolant in two dimensions with several="
                f"{(*nets, len(bank.orders))}; got several={tuple(several)} in {coefficients.dim} dimension(s)."
            )
        if source is not None and (source.dim != 1 or source.values.shape[:-1] != nets):
            raise ValueError(
                f"The source is a function of u, an Interpolant in one dimension with several={nets}; got "
                f"several={tuple(source.values.shape[: -source.dim])} in {source.dim} dimension(s)."
            )
        self.bank, self.interpolant, self.source, self.grid = bank, coefficients, source, grid
        self.register_buffer("A", coefficients.matrix(bank.h * torch.arange(grid, dtype=torch.float64)))

    @property
    def names(self) -> list[str]:
        """Of the terms, in the order of the filters: u_x, u_y, ..."""
        return feature_names(1, self.bank.orders)

    def coefficients(self) -> Float[Tensor, "*nets F N N"]:
        """c_alpha(i h, j h)."""
        return self.A @ self.interpolant.values @ self.A.mT

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*result"]:
        if u.shape[-2:] != (self.grid, self.grid):
            raise ValueError(
                f"The coefficients live on {self.grid} x {self.grid} points, so does u, (*batch, {self.grid}, "
                f"{self.grid}); got shape {tuple(u.shape)}."
            )
        d = self.bank(u)
        c = self.coefficients().to(u)
        if self.bank.nets is not None:
            c = c.reshape(c.shape[0], *(1,) * (d.ndim - 4), *c.shape[1:])
        rate = (c * d).sum(-3)
        if self.source is None:
            return rate
        if self.bank.nets is None:
            return rate + self.source(u)
        return rate + torch.stack([self.source.at(u[i % len(u)], v) for i, v in enumerate(self.source.values)])


class PDENet1(PDENet):
    r"""u^{k+1} = Q_00 u^k + dt (sum_alpha c_alpha(x, y) Q_alpha u^k + s(u^k)): PDE-Net 1.0.   [102]

    grid      the points along an axis, on [0, N h)
    dt        the time of a block
    h         the grid step, by default 2 pi / grid
    N         taps along an axis of a filter: 5, 7
    orders    the alpha, by default 1 <= i + j <= 4; with (0, 0) there is a term c u, too
    accuracy  of the filters; 1 fixes the moments up to order |alpha|, as in [102]
    average   the accuracy of Q_00; 1 fixes its sum alone, as in [102]
    mesh      cells along an axis, on which each c_alpha is a polynomial of `degree` in x and in y, from 0 on
    source    an Interpolant for s(u), such as Interpolant(-15, 15, mesh=20, degree=4)
    learned   False keeps the filters as they start, central, and Q_00 = 1: "frozen"
    scheme    (F, dt) -> map; Euler in [102]
    nets      S nets at once

    u has shape (*batch, 1, N, N), N = grid; with S nets (S or 1, *batch, 1, N, N). `maps`, `forward`, `trajectory` are
    those of PDENet.

    >>> net = PDENet1(grid=16, dt=0.01, mesh=4)
    >>> net(torch.zeros(3, 1, 16, 16), k=2).shape, net.coefficients().shape, net.names[:3]
    (torch.Size([3, 1, 16, 16]), torch.Size([14, 16, 16]), ['u_x', 'u_y', 'u_xx'])
    """

    def __init__(
        self,
        grid: int,
        dt: float,
        *,
        h: float | None = None,
        N: int = 5,
        orders: Sequence[tuple[int, int]] = ORDERS4,
        accuracy: int = 1,
        average: int = 1,
        mesh: int = 20,
        degree: int = 2,
        source: Interpolant | None = None,
        start: Callable[..., Tensor] = central,
        learned: bool = True,
        scheme: Callable[..., nn.Module] = Euler,
        nets: int | None = None,
    ):
        h = 2 * math.pi / grid if h is None else h
        bank = MomentBank(orders, N, accuracy, h, start, learned, nets)
        Q_00 = MomentBank([(0, 0)], N, average, h, nets=nets) if learned else None
        several = (len(orders),) if nets is None else (nets, len(orders))
        coefficients = Interpolant(0.0, grid * h, mesh, degree, dim=2, several=several)
        super().__init__(LinearRightSide(bank, coefficients, grid, source), dt, Q_00, scheme)

    @property
    def names(self) -> list[str]:
        """Of the terms, in the order of `coefficients`."""
        return self.F.names

    def coefficients(self) -> Float[Tensor, "*nets F N N"]:
        """c_alpha at the points of the grid, in the order of `names`."""
        return self.F.coefficients()
