r"""u^{k+1} = u^k + dt SymNet(Q_00 u^k, Q_10 u^k, Q_01 u^k, ...): PDE-Net 2.0.   (5.4)

    RightSide   F(u) = SymNet(Q u), a field: filters that are derivatives, then a polynomial in them
    PDENet      k equal steps Euler(F, dt): a list of maps, run once through by `run`, so a ResNet with shared weights
    pdenet      both, as in [101]

The features at a point are the derivatives of the first component of u, then those of the second, ...:
u, u_x, u_y, u_xx, u_xy, u_yy, v, v_x, ...  x is axis -2, y axis -1; the grid is periodic.

Pseudo-upwind, as in the authors' code: for d/dx there are two filters, q and -q[-k_1, k_2]. Both have m_10 = 1 and the
same accuracy; if q looks ahead, k_1 >= 0, the other looks back. Where dF_c / d(u_c)_x > 0, u_c travels towards
smaller x and q is taken, elsewhere the other; for d/dy likewise. The sign is that of the polynomial at the features by
q alone, and no gradient goes through the choice. For a vector u each component asks its own equation, and what it
chooses is u_x in all equations: right for transport, -u u_x - v u_y, where u_x goes by the sign of -u, u_y by that of
-v. It is no upwind scheme for systems: in u_t = v_x, v_t = u_x no component finds its own derivative, the sign is that
of 0, and the second filter is taken everywhere.

Source: Long, Lu and Dong, PDE-Net 2.0 (2019), [101], and its code.
Paper: (5.4).  Notebook: 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.schemes import Euler
from companion.nets.moments import MomentBank, central
from companion.nets.moments import upwind as one_sided
from companion.nets.odenet import ODENet
from companion.nets.polynomial import Polynomial
from companion.nets.regularise import block_loss, check_frames, huber, relative_loss
from companion.nets.symnet import SymNet

__all__ = [
    "ORDERS",
    "Averaged",
    "PDENet",
    "RightSide",
    "block_loss",
    "check_frames",
    "feature_names",
    "huber",
    "pdenet",
    "relative_loss",
]

ORDERS = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]


def feature_names(channels: int, orders: Sequence[tuple[int, ...]] = ORDERS) -> list[str]:
    """u, u_x, u_y, u_xx, ..., then the same of v and w: the features in their order.

    >>> feature_names(2)[4:8]
    ['u_xy', 'u_yy', 'v', 'v_x']
    """
    index = ["".join(letter * i for letter, i in zip("xy", alpha, strict=False)) for alpha in orders]
    letters = "uvw" if channels <= 3 else [f"u{c + 1}" for c in range(channels)]
    return ["_".join(filter(None, pair)) for pair in product(letters[:channels], index)]


class RightSide(nn.Module):
    r"""F(u) = SymNet(Q u), Q the derivatives by filters: a field, (*batch, C, N1, N2) -> the same shape.   (5.4)

    bank      the filters Q, a MomentBank
    response  a SymNet, or a Polynomial, of the C x F features, with C outputs
    upwind    True chooses the side of each first derivative at each point, see above

    With S nets in the bank and in the response u is (S or 1, *batch, C, N1, N2).
    """

    def __init__(self, bank: MomentBank, response: SymNet | Polynomial, upwind: bool = True):
        super().__init__()
        inputs, filters = getattr(response, "n_inputs", getattr(response, "n", 0)), len(bank.orders)
        self.channels = inputs // filters
        outputs = response.outputs if isinstance(response, SymNet) else _rows(response)
        if inputs == 0 or inputs % filters or outputs != self.channels:
            raise ValueError(
                f"The response has C outputs for C components of u, and {filters} C inputs, their derivatives; got "
                f"{outputs} outputs, {inputs} inputs. The coefficients of a Polynomial are (C, monomials)."
            )
        nets = response.nets if isinstance(response, SymNet) else bank.nets
        if nets != bank.nets:
            raise ValueError(
                f"As many responses as banks: got a bank with nets={bank.nets}, a SymNet with nets={nets}."
            )
        self.bank, self.response, self.upwind = bank, response, upwind
        self._first = [(i, alpha.index(1)) for i, alpha in enumerate(bank.orders) if sum(alpha) == 1]

    @property
    def names(self) -> list[str]:
        """Of the features, as `polynomial.terms(names)` wants them."""
        return feature_names(self.channels, self.bank.orders)

    def features(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*features"]:
        """Q u, (*batch, C F, points): all filters, and the other sides of the first derivatives, in one convolution."""
        dim, F = self.bank.dim, len(self.bank.orders)
        if u.ndim < dim + 1 or u.shape[-dim - 1] != self.channels:
            raise ValueError(
                f"This right-hand side is one for {self.channels} components: u has shape (*batch, {self.channels}, "
                f"N1, N2) on a plane; got shape {tuple(u.shape)}."
            )
        q = self.bank.scaled_taps(u)
        if not self.upwind:
            return self.bank.correlate(u, q).flatten(-dim).flatten(-3, -2)
        other = [-q.select(-dim - 1, i).flip(axis - dim) for i, axis in self._first]
        d = self.bank.correlate(u, torch.cat([q, torch.stack(other, -dim - 1)], -dim - 1)).flatten(-dim)
        rows = list(d.unbind(-2))
        ahead = self._ahead(d[..., :F, :])
        for (i, _), row, choice in zip(self._first, rows[F:], ahead, strict=True):
            rows[i] = torch.where(choice, rows[i], row)
        return torch.stack(rows[:F], -2).flatten(-3, -2)

    def _ahead(self, x: Tensor) -> list[Tensor]:
        """dF_c / dx_ci > 0 at the features x, (*batch, C, F, points): (*batch, C, points) for first derivatives i."""
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            y = self.response(x.flatten(-3, -2)).unbind(-2)
            slopes = [torch.autograd.grad(y[c].sum(), x, retain_graph=True)[0].select(-3, c) for c in range(len(y))]
        return [torch.stack([s.select(-2, i) > 0 for s in slopes], -2) for i, _ in self._first]

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*result"]:
        return self.response(self.features(u)).unflatten(-1, u.shape[u.ndim - self.bank.dim :])

    def polynomial(self, degree: int = 3) -> Polynomial:
        """F in the features, terms up to a total degree: the equation that was found."""
        return self.response if isinstance(self.response, Polynomial) else self.response.polynomial(degree)

    def expression(self, threshold: float = 0.0, degree: int = 3) -> list[Any]:
        """The same as SymPy expressions, one for each component, without the terms with |c| < threshold."""
        return [p.sympy(self.names, threshold) for p in self.polynomial(degree)]


def _rows(p: Polynomial) -> int:
    """How many polynomials there are, if they have an axis of their own."""
    return p.coefficients.shape[-2] if p.coefficients.ndim > 1 else 0


class Averaged(nn.Module):
    r"""u -> S(u) + (Q_00 u - u): the step S from an average of u. With Euler's S it is Q_00 u + dt F(u).   (5.4)

    step     a scheme S
    average  a MomentBank with the one filter Q_00
    """

    def __init__(self, step: nn.Module, average: MomentBank):
        super().__init__()
        if [sum(alpha) for alpha in average.orders] != [0]:
            raise ValueError(f"The average is one filter, of order 0; got a bank with the orders {average.orders}.")
        self.step, self.average = step, average

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*result"]:
        return self.step(u) + (self.average(u).squeeze(-1 - self.average.dim) - u)


class PDENet(nn.Module):
    r"""u^{k+1} = u^k + dt F(u^k): k blocks, one and the same map each, run by `run`.   (5.4)

    F        the right-hand side, a RightSide
    dt       the time of a block
    average  a MomentBank for Q_00: u^{k+1} = Q_00 u^k + dt F(u^k); None leaves u^k as it is
    scheme   (F, dt) -> map; Euler in the paper, `Midpoint` in the later code

    u has shape (*batch, C, N1, N2); with S nets (S or 1, *batch, C, N1, N2).

    >>> net = pdenet(channels=2, h=0.2, dt=0.01)
    >>> net(torch.zeros(5, 2, 32, 32), k=3).shape, net.trajectory(torch.zeros(5, 2, 32, 32), k=3).shape
    (torch.Size([5, 2, 32, 32]), torch.Size([5, 4, 2, 32, 32]))
    """

    def __init__(
        self,
        F: nn.Module,
        dt: float,
        average: MomentBank | None = None,
        scheme: Callable[..., nn.Module] = Euler,
    ):
        super().__init__()
        step = scheme(F, dt)
        self.step = step if average is None else Averaged(step, average)
        self.dt = float(dt)

    @property
    def F(self) -> Any:
        """The right-hand side."""
        step: Any = self.step.step if isinstance(self.step, Averaged) else self.step
        return step.F

    def maps(self, k: int) -> list[nn.Module]:
        """k times the step."""
        if not isinstance(k, int) or k < 0:
            raise ValueError(f"A PDE-Net has a whole number k >= 0 of blocks; got k={k}.")
        return [self.step] * k

    def forward(self, u: Float[Tensor, "*shape"], k: int = 1) -> Float[Tensor, "*result"]:
        """u(k dt) = run(maps(k), u).u."""
        return ODENet(self.maps(k))(u)

    def trajectory(self, u: Float[Tensor, "*shape"], k: int) -> Float[Tensor, "*frames"]:
        """u^0, u^1, ..., u^k, (*batch, k + 1, C, N1, N2), with gradients."""
        bank = self.F.bank
        if bank.nets is not None:
            u = u.expand(bank.nets, *u.shape[1:])
        return torch.stack(ODENet(self.maps(k)).features(u), -bank.dim - 2)


def pdenet(
    channels: int = 2,
    *,
    h: float = 2 * math.pi / 32,
    dt: float = 0.01,
    N: int = 5,
    accuracy: int = 2,
    hidden: int = 5,
    upwind: bool = True,
    learned: bool = True,
    nets: int | None = None,
    scheme: Callable[..., nn.Module] = Euler,
    generator: torch.Generator | None = None,
) -> PDENet:
    r"""PDE-Net 2.0 as in [101]: the derivatives of order <= 2 by N x N filters, a SymNet for each component.   (5.4)

    h         the grid step; dt the time of a block
    upwind    True: filters that begin one-sided, and the choice of a side; False: central ones
    learned   False freezes the filters
    the rest  as for MomentBank and SymNet

    >>> net = pdenet()
    >>> net.F.bank.free.numel(), sum(p.numel() for p in net.F.response.parameters())
    (105, 336)
    """
    bank = MomentBank(ORDERS, N, accuracy, h, one_sided if upwind else central, learned, nets)
    net = SymNet(channels * len(ORDERS), hidden, channels, nets, generator=generator)
    return PDENet(RightSide(bank, net, upwind), dt, scheme=scheme)
