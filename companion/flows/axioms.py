r"""The axioms of a scale space as measurements: how far a flow T: (u, t) -> u(t) is from obeying each.   Section 3

    recursivity          T_{s+t} u = T_t T_s u, T_0 u = u          every causal law
    maximum_principle    min u <= T_t u <= max u                   diffusions
    comparison           u <= v implies T_t u <= T_t v             monotone equations: heat, curvature motion
    grey_shift           T_t(u + c) = T_t u + c                    F(u) depends on the derivatives of u only
    contrast             T_t phi(u) = phi(T_t u), phi increasing   morphological: the level lines move, curvature motion
    linearity            T_t(u + a v) = T_t u + a T_t v            heat, and nothing else with all the others
    translation          T_t u(. + k) = (T_t u)(. + k)             the equation has no place
    rotation             T_t(R u) = R(T_t u)                       ... and no direction: here by quarter turns, mirrors
    mean                 sum T_t u = sum u                         equations in divergence form
    locality             u = v near x implies T_t u(x) = T_t v(x) + o(t)     differential equations

By [3], a flow with recursivity, regularity (|T_t(f + h g) - T_t f - h g| <= C h t for smooth f and g, h, t <= 1, with
a C that depends on f and g), locality and the comparison principle is a second-order equation
u_t = F(Hess u, grad u, u, x), F non-decreasing in the Hessian; translation and grey shift remove x and u. ([3] asks for
less than T_{s+t} = T_t T_s, and F may then depend on t.) Each function here returns a *defect* >= 0, largest over all
pixels and all pictures of a batch: rounding is about 1e-15, and 0 is a law not violated by these data. What breaks a
law may be the equation (Perona-Malik: comparison), the grid (forward differences: rotation, and comparison under the
flow of TV), or the step in time (recursivity, where t is no multiple of dt).

The last `dim` axes are space, in pixels. Paper: Section 3, [3].  Notebook: 06.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from companion.flows.field import Field
from companion.flows.schemes import Euler

Flow = Callable[[Tensor, float], Tensor]


def evolution(F: Field, dt: float | None = None, scheme: Callable = Euler) -> Flow:
    r"""T: (u, t) -> u(t) for u_t = F(u): what the axioms are asked of. dt and scheme as in `F.flow`.

    Steps are shortened so that they end at t. Two flows are made of the same steps where all times are multiples of dt.
    """

    def T(u: Tensor, t: float) -> Tensor:
        with torch.no_grad():
            return F.flow(u, t, dt, scheme).u

    return T


def recursivity(T: Flow, u: Tensor, s: float, t: float) -> float:
    """|T_{s+t} u - T_t T_s u|: the flow forgets where it came from. Zero for times that are multiples of the step."""
    return _size(T(u, s + t) - T(T(u, s), t))


def maximum_principle(T: Flow, u: Tensor, t: float, dim: int = 2) -> float:
    """max(0, max T_t u - max u, min u - min T_t u), for each picture: how far it leaves its range."""
    v, axes = T(u, t), tuple(range(-dim, 0))
    return _positive(torch.maximum(v.amax(axes) - u.amax(axes), u.amin(axes) - v.amin(axes)))


def comparison(T: Flow, u: Tensor, v: Tensor, t: float) -> float:
    """max(0, T_t u - T_t v) for u <= v: how far the order of two pictures is lost. ValueError unless u <= v."""
    above = int((u > v).sum())
    if above:
        raise ValueError(
            f"The comparison principle is about pictures u <= v; got u > v at {above} pixels. Use u and "
            "torch.maximum(u, v)."
        )
    return _positive(T(u, t) - T(v, t))


def grey_shift(T: Flow, u: Tensor, t: float, c: float = 1.0) -> float:
    """|T_t(u + c) - T_t u - c|: brightness has no influence."""
    return _size(T(u + c, t) - T(u, t) - c)


def contrast(T: Flow, u: Tensor, t: float, phi: Callable[[Tensor], Tensor]) -> float:
    """|T_t phi(u) - phi(T_t u)| for an increasing phi, such as torch.exp: only the level lines count."""
    return _size(T(phi(u), t) - phi(T(u, t)))


def linearity(T: Flow, u: Tensor, v: Tensor, t: float, a: float = 1.0) -> float:
    """|T_t(u + a v) - T_t u - a T_t v|: superposition."""
    return _size(T(u + a * v, t) - T(u, t) - a * T(v, t))


def mean(T: Flow, u: Tensor, t: float, dim: int = 2) -> float:
    """|mean T_t u - mean u|, for each picture: nothing flows in or out."""
    axes = tuple(range(-dim, 0))
    return _size(T(u, t).mean(axes) - u.mean(axes))


def translation(T: Flow, u: Tensor, t: float, shift: Sequence[int] = (3, 5), margin: int = 0) -> float:
    """|T_t(S u) - S T_t u|, S u[n] = u[n + shift] on the torus; one shift for each axis of space.

    margin  how many pixels to leave out at the border and where it is moved to: 0 for a periodic flow; with a
            reflecting border the law holds only as far from it as the flow has not carried it
    """
    axes = tuple(range(-len(shift), 0))
    back = tuple(-k for k in shift)
    defect = T(u.roll(back, axes), t) - T(u, t).roll(back, axes)
    for axis, k in zip(axes, shift, strict=True):
        n = defect.shape[axis]
        far = torch.arange(n, device=u.device)
        seam = torch.stack([(far - k0) % n for k0 in (0, -k)])  # distance to the right of the two borders
        keep = (torch.minimum(seam, n - 1 - seam) >= margin).all(0)
        defect = defect.index_select(axis, keep.nonzero().flatten())
    return _size(defect)


def rotation(T: Flow, u: Tensor, t: float) -> float:
    """max over R of |T_t(R u) - R T_t u|, R the seven quarter turns and mirror images of a square; pictures only."""
    v = T(u, t)
    defects = [0.0]
    for quarters, mirror in itertools.product(range(4), (False, True)):

        def R(w: Tensor, quarters: int = quarters, mirror: bool = mirror) -> Tensor:
            turned = torch.rot90(w, quarters, (-2, -1))
            return turned.transpose(-2, -1) if mirror else turned

        defects.append(_size(T(R(u), t) - R(v)))
    return max(defects)


def locality(T: Flow, u: Tensor, t: float, radius: float, dim: int = 2) -> float:
    r"""|T_t u - T_t v|(x) / t at the central pixel x, where v = u for |y - x| <= radius, and mirrored in grey beyond.

    The law says that this tends to 0 with t. An explicit step looks one pixel far (a smoothed diffusivity further), so
    that it is 0 as long as fewer than `radius` steps are taken; the heat equation's is e^{-radius^2 / (4t)} / t, small.
    """
    if not t > 0:
        raise ValueError(f"Locality compares two flows for a short time t > 0; got t={t}.")
    axes = tuple(range(-dim, 0))
    lines = [torch.arange(n, device=u.device) - n // 2 for n in u.shape[-dim:]]
    distance = sum(line.square() for line in torch.meshgrid(*lines, indexing="ij"))
    mirrored = u.amax(axes, keepdim=True) + u.amin(axes, keepdim=True) - u
    v = torch.where(torch.as_tensor(distance) <= radius**2, u, mirrored)
    defect = T(u, t) - T(v, t)
    for n in u.shape[-dim:]:
        defect = defect.select(-dim, n // 2)
        dim -= 1
    return _size(defect) / t


def _size(w: Tensor) -> float:
    """max |w|; infinity where a flow has blown up."""
    value = float(w.detach().abs().max()) if w.numel() else 0.0
    return math.inf if math.isnan(value) else value


def _positive(w: Tensor) -> float:
    """max(0, w)."""
    value = float(w.detach().max())
    return math.inf if math.isnan(value) else max(0.0, value)
