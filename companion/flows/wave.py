r"""u_tt + C u_t = F(u) - kappa A^T (A u - f): the damped wave behind the accelerated iteration.   (4.8)

    DampedWave      the equation as a first-order system for (u, v = u_t), solved to high accuracy by SciPy's DOP853
    oscillator      u'' + C u' + w^2 u = 0 in closed form: one Fourier mode of the equation with a linear F
    bessel_mode     the same for C(t) = 3/t: 2 J_1(w t) / (w t), the limit of Nesterov's gamma^k
    spectral_wave   u(t) on the torus, mode by mode

Where F = -grad E the energy |u_t|^2/2 + E(u) + kappa/2 |A u - f|^2 falls at the rate C |u_t|^2, while E(u) alone may
rise: a wave stores it in its velocity. Under a friction C a mode decays like e^{-C t/2} if 2 w > C (it oscillates), and
like e^{-w^2 t/C} if 2 w is much smaller (it creeps, as in the flow u_t = F(u) / C). The slowest mode decays fastest
with C = 2 w, like (1 + w t) e^{-w t}, where the flow u_t = F(u) decays like e^{-w^2 t}: for small w that is the gain.

Paper: (4.8).  Notebook: 09.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.accelerated import together
from companion.operators.linear import LinearOperator


class Motion(NamedTuple):
    """A picture u and its velocity v = u_t; of `DampedWave.solve` at several times, with the times in front."""

    u: Tensor
    v: Tensor


class DampedWave(nn.Module):
    r"""(u, v) -> (v, F(u) - kappa A^T (A u - f) - C v).   (4.8)

    F            a Field, such as Diffusion(g, grad): minus a gradient's adjoint times its flux, so the sign
                 (-1)^{1 + |beta|} of (4.8) is in it
    C            the friction >= 0: a number, or a function of t. One that is infinite at t = 0, like lambda t: 3 / t,
                 asks for a start at rest
    A, f, kappa  the term -kappa A^T (A u - f), kappa > 0; all three or none

    Batches move together, with steps that suit all of them.

    Raises ValueError for C < 0, and for A, f and kappa > 0 that are not given together.
    """

    F: Any

    def __init__(
        self,
        F: Callable[[Tensor], Tensor],
        C: float | Callable[[float], float],
        A: LinearOperator | None = None,
        f: Tensor | None = None,
        kappa: float = 0.0,
    ):
        super().__init__()
        if not callable(C) and not 0 <= C < math.inf:
            raise ValueError(f"The friction C of (4.8) is finite and >= 0: C < 0 would feed the wave; got C={C}.")
        self.F, self.C, self.kappa = F, C, float(kappa)
        self.data = together("the term -kappa A^T(A u - f) of (4.8)", A, f, "kappa", kappa)

    def force(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """F(u) - kappa A^T (A u - f)."""
        return self.F(u) if self.data is None else self.F(u) - self.kappa * self.data.grad(u)

    def forward(self, x: Motion, t: float = 0.0) -> Motion:
        """(v, F(u) - kappa A^T (A u - f) - C(t) v): the rate of (u, v) at time t."""
        C = self.C(t) if callable(self.C) else self.C
        return Motion(x.v, self.force(x.u) - C * x.v)

    def energy(self, x: Motion, E: Callable[[Tensor], Any]) -> Any:
        r"""|v|^2/2 + E(u) + kappa/2 |A u - f|^2, for F = -grad E: its derivative along (4.8) is -C |v|^2 <= 0.

        E  the potential, E(u) = sum G(|grad u|^2)/2 with G' = g for Diffusion(g, grad)
        """
        potential = E(x.u) if self.data is None else E(x.u) + self.kappa * self.data(x.u)
        return x.v.square().sum() / 2 + potential

    def solve(
        self,
        u0: Float[Tensor, "*shape"],
        t: float | Sequence[float] | Tensor,
        v0: Float[Tensor, "*shape"] | None = None,
        rtol: float = 1e-10,
        atol: float = 1e-12,
    ) -> Motion:
        r"""(u(t), u_t(t)) from u(0) = u_0 and u_t(0) = v_0, by SciPy's DOP853, order 8 with steps of its own choice.

        t           a time >= 0, or an increasing sequence of them: then the results are stacked in front
        v0          the first velocity, by default 0: at rest
        rtol, atol  the error allowed in a step, for each number of the state

        Where C(t) is infinite at 0 and t C(t) -> c, as for c/t, the solution at rest starts as u_0 + a t^2/2 with
        a = (F(u_0) - kappa A^T(A u_0 - f)) / (1 + c): it is followed from 1e-5 times the first t > 0 on. Computed in
        float64 and without gradients; type and device of the result are those of u_0.

        Raises ValueError for times that are negative or not increasing, and for v_0 != 0 where C(0) is infinite.
        RuntimeError where no step is small enough, as for an F that drives u to infinity.
        """
        from scipy.integrate import solve_ivp

        times = torch.as_tensor(t, dtype=torch.float64).reshape(-1)
        if not len(times) or not bool((times >= 0).all() and (times.diff() > 0).all() and torch.isfinite(times).all()):
            raise ValueError(f"The times of a wave are >= 0 and increase; got t={times.tolist()[:8]}.")
        u, v = u0.detach().double(), (torch.zeros_like(u0) if v0 is None else v0.detach()).double()
        begin, end, shape = 0.0, float(times[-1]), u0.shape

        def lift(y: Any) -> Motion:
            return Motion(*torch.as_tensor(y, dtype=torch.float64).reshape(2, *shape).to(u0.device))

        def rate(time: float, y: Any) -> Any:
            return torch.stack(self(lift(y), time)).flatten().cpu().numpy()

        with torch.no_grad():
            if end > 0 and singular(self.C):
                if bool((v != 0).any()):
                    raise ValueError(
                        "A friction C(t) that is infinite at t = 0 stops every motion at once; got v0 with max |v0| = "
                        f"{float(v.abs().max()):.3g}. Start at rest, v0=None."
                    )
                begin = 1e-5 * float(times[times > 0][0])
                a = self.force(u) / (1 + begin * self.C(begin))  # type: ignore[operator]
                u, v = u + begin**2 / 2 * a, begin * a
            y0 = torch.stack([u, v]).flatten().cpu().numpy()
            late = times.clamp_min(begin).numpy()
            result = solve_ivp(rate, (begin, end), y0, "DOP853", t_eval=late, rtol=rtol, atol=atol) if end > 0 else None
        if result is not None and not result.success:
            raise RuntimeError(
                f"The wave (4.8) could not be followed to t = {end:g}: {result.message} Does F drive u to infinity? "
                "F = -grad E with E bounded below does not."
            )
        path = torch.from_numpy(y0[:, None] if result is None else result.y).T.reshape(len(times), 2, *shape).to(u0)
        single = not isinstance(t, Sequence) and not (isinstance(t, Tensor) and t.ndim)
        return Motion(path[0, 0], path[0, 1]) if single else Motion(path[:, 0], path[:, 1])


def singular(C: Any) -> bool:
    """True for a friction C(t) that has no finite value at t = 0."""
    if not callable(C):
        return False
    try:
        return not math.isfinite(C(0.0))
    except ZeroDivisionError:
        return True


# ---- exact solutions ------------------------------------------------------------------------------------------------


def oscillator(omega2: Float[Tensor, "*shape"], C: float, t: float) -> Float[Tensor, "*shape"]:
    r"""u(t) for u'' + C u' + w^2 u = 0, u(0) = 1, u'(0) = 0: one Fourier mode of (4.8), w^2 = omega2 >= 0.   (4.8)

        2 w > C   e^{-C t/2} (cos n t + C/2 sin(n t)/n),     n = (w^2 - C^2/4)^{1/2}      oscillates
        2 w = C   e^{-C t/2} (1 + C t/2)                                                  critical: the fastest
        2 w < C   e^{-C t/2} (cosh m t + C/2 sinh(m t)/m),   m = (C^2/4 - w^2)^{1/2}      creeps, like e^{-w^2 t/C}

    >>> oscillator(torch.tensor([0.0, 1.0, 4.0]), C=2.0, t=1.0)
    tensor([1.0000, 0.7358, 0.1506])
    """
    d = C / 2
    n = (omega2 - d * d).clamp_min(0).sqrt()
    m = (d * d - omega2).clamp_min(0).sqrt()
    waves = math.exp(-d * t) * (torch.cos(n * t) + d * t * torch.sinc(n * t / math.pi))
    slow = torch.exp(-omega2.clamp_max(d * d) / (d + m) * t if d else -m * t)  # e^{-(C/2 - m) t}, without cancellation
    small = 2 * m.clamp_min(torch.finfo(m.dtype).tiny)
    creeps = slow * ((1 + torch.exp(-2 * m * t)) / 2 + d * torch.where(m > 0, -torch.expm1(-2 * m * t) / small, t))
    return torch.where(omega2 > d * d, waves, creeps)


def bessel_mode(omega: Float[Tensor, "*shape"], t: float) -> Float[Tensor, "*shape"]:
    r"""2 J_1(w t) / (w t): u'' + (3/t) u' + w^2 u = 0, u(0) = 1, u'(0) = 0, a mode under Nesterov's friction.   (4.8)

    It decays like t^{-3/2}, whatever w, and its energy like t^{-3}. By SciPy's J_1 (torch's is off by 1e-7), without
    gradients.
    """
    from scipy.special import j1

    z = (omega.detach().double() * t).cpu()
    near = z.abs() < 1e-4
    away = 2 * torch.as_tensor(j1(z.numpy())) / torch.where(near, 1.0, z)
    return torch.where(near, 1 - z.square() / 8, away).to(omega)


def spectral_wave(u0: Float[Tensor, "*shape"], omega2: Tensor, C: float | None, t: float) -> Float[Tensor, "*shape"]:
    r"""u(t) of u_tt + C u_t = -K u from rest, K the Fourier multiplier w^2 = omega2: modes are `oscillator`s.   (4.8)

    omega2  (*space): `FrameGradient.spectrum(shape)` for the equation on the grid, `laplace_spectrum(shape, h)` for
            that of the continuum, sampled
    C       the friction; None is 3/t
    """
    axes = tuple(range(-omega2.ndim, 0))
    omega2 = omega2.to(u0)
    mode = bessel_mode(omega2.clamp_min(0).sqrt(), t) if C is None else oscillator(omega2, C, t)
    return torch.fft.ifftn(mode * torch.fft.fftn(u0, dim=axes), dim=axes).real


def laplace_spectrum(shape: Sequence[int], h: float = 1.0) -> Tensor:
    """|w|^2, w = 2 pi k / (n h) with -n/2 <= k < n/2 along each axis: the symbol of -Laplace on a torus of n h.

    >>> laplace_spectrum((4,), h=0.25).div(torch.pi**2)
    tensor([ 0.,  4., 16.,  4.], dtype=torch.float64)
    """
    lines = [(2 * torch.pi * torch.fft.fftfreq(n, h, dtype=torch.float64)).square() for n in shape]
    total = torch.zeros(tuple(shape), dtype=torch.float64)
    for axis, line in enumerate(lines):
        total = total + line.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return total
