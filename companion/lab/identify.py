r"""u_t = F(u) from frames, in seconds: random points, features of unit size, three fits.   (5.4)

    (u, u_t)       by least squares in time, `in_time`: two frames give their mean and their quotient, an error O(dt^2)
    points         a few thousand, drawn at random; a filter sees N^2 values at each, all filters are one matrix product
    frozen         SymNet(features) = u_t, the filters as they start
    constrained    filters and SymNet together, |parameters|, |free moments| and |q - q_start|^2 kept small
    few terms      the polynomial that the SymNet is, its small terms left out; their coefficients and the filters again

Features and u_t are divided by their size, so that a term counts by what it contributes: u_xx is five times u here.
Each fit is L-BFGS in float64. Nothing is asked of many steps in a row: long-time stability is learned in blocks, by
`blockwise`.

A filter learns what the grid needs: on a coarse grid the derivative of the waves that are there, under noise also an
average. Accuracy r ties it to the derivative, the fewer taps the closer; a free filter Q takes part of a coefficient c
upon itself, c Q staying what it is. Films as in [101] obey a transport of -1.01; read on 32 x 32 points they give that
with 5 x 5 taps of r = 3, and -1.00 with 7 x 7.

Of waves that the films have not they say nothing, and noise says only that a filter should not see them. Heat's films
end at |k| = 4: without more, the net that is found for them damps these, lets k = (16, 16) grow, and is useless after
300 steps. So a filter is held where it starts, by a weight on |q - q_start|^2 far below that of the waves in the films.
It outweighs noise of its own size, 0.001; for a net that shall run long after noise of a per cent take `ridge` larger.

Source: Long, Lu and Dong, PDE-Net 2.0 (2019), [101]; points and scaling are ours.
Paper: (5.4), (5.7).  Notebook: 13.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from companion.lab.minimise import minimise
from companion.nets.moments import MomentBank, central
from companion.nets.pdenet import ORDERS, PDENet, RightSide, check_frames, huber
from companion.nets.polynomial import Polynomial
from companion.nets.symnet import SymNet


class Found(NamedTuple):
    """What `identify` returns.

    net         u^{k+1} = u^k + dt F(u^k), a PDENet: net.F.bank are the filters, net.F.polynomial() is F
    frozen      F after the first fit, with the filters as they start, its small terms left out
    residual    rms(u_t - F) / rms(u_t) for each component, at the points
    seconds     of processor time
    """

    net: PDENet
    frozen: Polynomial
    residual: list[float]
    seconds: float

    @property
    def names(self) -> list[str]:
        """Of the features: u, u_x, u_y, u_xx, u_xy, u_yy, v, ..."""
        return self.net.F.names

    @property
    def polynomial(self) -> Polynomial:
        """F in its features, a right-hand side for each component."""
        return self.net.F.polynomial()

    def terms(self, threshold: float = 0.0) -> list[dict[str, float]]:
        """The right-hand side of each component: {"u*u_x": -1.00, ...}."""
        return [p.terms(self.names, threshold) for p in self.polynomial]


def in_time(
    frames: Float[Tensor, "*shape"], dt: float, width: int = 2, degree: int = 1
) -> tuple[Float[Tensor, "*more"], Float[Tensor, "*more"]]:
    r"""The p of `degree` with the least sum_j |p(t_j) - u(t_j)|^2 over `width` frames: p and dp/dt amid them.

    frames  (n, frames, ...);  each of the two results (n, frames - width + 1, ...)

    Two frames, degree 1: (u^{k+1} + u^k)/2 and (u^{k+1} - u^k)/dt, both with an error O(dt^2), where Euler's pair
    (u^k, (u^{k+1} - u^k)/dt) has O(dt). Eleven frames, degree 4: the variance of the noise in u_t is 33 times less.

    >>> t = torch.arange(6.0, dtype=torch.float64)[None, :]
    >>> u, u_t = in_time(t**2, dt=1.0, width=5, degree=2)
    >>> u.round(decimals=6), u_t.round(decimals=6)
    (tensor([[4., 9.]], dtype=torch.float64), tensor([[4., 6.]], dtype=torch.float64))
    """
    if not 1 <= degree < width <= frames.shape[1]:
        raise ValueError(
            "A polynomial of degree d >= 1 in time is fitted to `width` frames, d < width, and there are as many or "
            f"more; got degree={degree}, width={width} and {frames.shape[1]} frames."
        )
    t = torch.arange(width, dtype=frames.dtype, device=frames.device) - (width - 1) / 2
    fit = torch.linalg.pinv(t[:, None] ** torch.arange(degree + 1, device=t.device))
    windows = frames.unfold(1, width, 1)
    return windows @ fit[0], windows @ fit[1] / dt


def at_points(
    u: Float[Tensor, "frames C N1 N2"], u_t: Float[Tensor, "frames C N1 N2"], N: int, n: int, generator: torch.Generator
) -> tuple[Float[Tensor, "C taps points"], Float[Tensor, "C points"]]:
    """The N x N values around n random points of a periodic grid, and u_t there; all points if there are fewer."""
    frames, _, N1, N2 = u.shape
    drawn = torch.randperm(frames * N1 * N2, generator=generator)[:n].to(u.device)
    f, i, j = drawn // (N1 * N2), drawn // N2 % N1, drawn % N2
    k = torch.arange(N, device=u.device) - N // 2
    near = u[f[:, None, None], :, (i[:, None, None] + k[:, None]) % N1, (j[:, None, None] + k) % N2]
    return near.permute(3, 1, 2, 0).flatten(1, 2).contiguous(), u_t[f, :, i, j].T.contiguous()


def identify(
    data: Any,
    *,
    hidden: int = 2,
    degree: int = 2,
    points: int = 6000,
    stages: tuple[int, int, int] = (100, 150, 100),
    N: int = 7,
    accuracy: int = 3,
    start: Callable[..., Tensor] = central,
    learned: bool = True,
    width: int = 2,
    time_degree: int = 1,
    sparsity: float = 0.005,
    moments: float = 0.001,
    ridge: float = 0.0004,
    threshold: float = 0.02,
    seed: int = 0,
) -> Found:
    r"""The right-hand side of u_t = F(u, u_x, ..., u_yy), a polynomial, from frames of u.

    data         has u of shape (n, frames, C, N1, N2), dt, h: what `frames` of companion.lab.pde_data gives
    hidden       products of the SymNet: two for a quadratic F; for a cubic one four, with stages=(1000, 400, 200) and
                 sparsity=0.0005
    degree       of the polynomial that is read off
    points       how many are drawn
    stages       iterations of L-BFGS: frozen filters; filters and SymNet; few terms
    N, accuracy, start, learned   of the filters: see MomentBank
    width, time_degree            of the fit in time: see `in_time`; 11 and 4 under noise of a per cent
    sparsity, moments             weights of the l1 norms, smoothed, of the SymNet and of the free moments
    ridge        sqrt of the weight of |q - q_start|^2: filters answer white noise of `ridge` times u as at the start
    threshold    a term stays if its coefficient, for features and u_t of unit size, is as large

    On Burgers' equation with 64 x 64 points, 2 s on one core: coefficients within half a per cent, within one under
    noise of 0.001. With N = 5, 20000 points, eleven frames and a quartic, 5 s: within four under noise of 0.01.
    """
    begin = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    dt, h = check_frames(data.u, data.dt, data.h)
    channels = data.u.shape[2]
    u, u_t = (f.flatten(0, 1) for f in in_time(data.u.double(), dt, width, time_degree))
    near, right = at_points(u, u_t, N, points, generator)
    bank = MomentBank(ORDERS, N, accuracy, h, start, learned).to(u.device)
    net = SymNet(channels * len(ORDERS), hidden, channels, generator=generator).to(u.device)
    with torch.no_grad():
        first = bank.at(near).flatten(0, 1)
        scale, size = first.square().mean(-1).sqrt(), right.square().mean(-1).sqrt()
        begun, unit = bank.scaled_taps(u), scale.unflatten(0, (channels, -1))
        weight = ridge**2 * (unit[:, :1] / unit).square().sum(0)
    first, right = first / scale[:, None], right / size[:, None]

    def features() -> Tensor:
        return bank.at(near).flatten(0, 1) / scale[:, None] if learned else first

    def misfit(F: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return (F(x) - right).square().mean(-1).sum()

    def small() -> Tensor:
        away = (bank.scaled_taps(u) - begun).square().sum((-2, -1))
        return moments * huber(bank.free_moments, 1e-2).sum() + (weight * away).sum()

    def kept(p: Polynomial) -> Polynomial:
        return Polynomial(p.exponents, p.coefficients.detach()).pruned(threshold)

    def physical(p: Polynomial) -> Polynomial:
        q = p.rescaled(scale)
        return Polynomial(q.exponents, q.coefficients * size[:, None])

    weights, filters = list(net.parameters()), list(bank.parameters())
    minimise(lambda: misfit(net, first), weights, stages[0])
    frozen = kept(net.polynomial(degree))
    minimise(
        lambda: misfit(net, features()) + sparsity * sum(huber(w, 1e-3).sum() for w in weights) + small(),
        weights + filters,
        stages[1],
    )
    few = kept(net.polynomial(degree))
    places = few.coefficients != 0
    c = few.coefficients[places].requires_grad_()

    def polynomial() -> Polynomial:
        return Polynomial(few.exponents, torch.zeros_like(few.coefficients).masked_scatter(places, c))

    minimise(lambda: misfit(polynomial(), features()) + small(), [c, *filters], stages[2])
    with torch.no_grad():
        final = polynomial()
        residual = (final(features()) - right).square().mean(-1).sqrt().tolist()
    F = RightSide(bank, physical(final), upwind=False)
    return Found(PDENet(F, dt), physical(frozen), residual, time.process_time() - begin)
