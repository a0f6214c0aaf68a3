r"""|lam . d|_1, its isotropic sister, and a box: proximal maps that shrink and clip.   (2.4)-(2.6), (4.2)

    L1        sum lam |v - f|                      entry by entry: a data term, or with f = 0 a penalty
    GroupL1   sum_k lam (sum_i |v_i[k]|^2)^{1/2}   one Euclidean length for each pixel k
    Box       0 if lo <= v <= hi, else infinity
    GroupBall 0 if (sum_i |p_i[k]|^2)^{1/2} <= radius for each pixel k, else infinity: the conjugate of GroupL1

Paper: (2.4)-(2.6), (3.1), (4.2).  Notebooks: 01, 04, 05.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from companion.energies.functional import Functional, check_data, fitted
from companion.operators.derivatives import root


class L1(Functional):
    r"""sum lam |v - f|: |lam . d|_1 of (2.4)-(2.6) for f = 0; -log of a Laplacian likelihood for lam = 1/b.

    lam  one number >= 0, or a tensor that broadcasts over the bands of v, such as W.weights(lam), 0 on the average
    f    the data; 0.0 for a penalty

    prox_tau is soft thresholding of v - f at tau lam. Raises ValueError for lam < 0 and where lam has one entry for
    each of another number of bands.
    """

    proximal = True
    lam: Tensor
    f: Tensor

    def __init__(self, lam: Tensor | float, f: Tensor | float = 0.0):
        super().__init__()
        self.register_buffer("lam", check_lam(lam))
        self.register_buffer("f", check_data(f))

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        return (self.check(v) * (v - fitted(self.f, v)).abs()).sum()

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        bound = tau * self.check(v)
        return v - clip(v - fitted(self.f, v), bound)

    def prox_conjugate(self, p: Float[Tensor, "*shape"], sigma: float | Tensor) -> Float[Tensor, "*shape"]:
        """p - sigma f, clipped to |p| <= lam: by Moreau's identity rounding would leave p where lam = 0."""
        bound = self.check(p)
        return clip(p - sigma * fitted(self.f, p), bound)

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """<p, f> if |p| <= lam, up to rounding, else infinity."""
        outside = bool((p.abs() > self.check(p) * slack(p)).any())
        return p.new_tensor(math.inf) if outside else (p * fitted(self.f, p)).sum()

    def check(self, v: Tensor) -> Tensor:
        """lam in the type of v; ValueError unless it is one number, or one for each band of v."""
        lam = self.lam
        if lam.ndim > v.ndim or any(m not in (1, n) for m, n in zip(lam.shape[::-1], v.shape[::-1], strict=False)):
            raise ValueError(
                f"lam has shape {tuple(lam.shape)}, the coefficients {tuple(v.shape)}: one lam, or one for each band. "
                "W.weights(lam) of the same W has the right shape."
            )
        return lam.to(v.dtype)


def clip(v: Tensor, bound: Tensor) -> Tensor:
    """v in [-bound, bound]; torch.clamp takes three times as long where the bounds are broadcast tensors. It stays
    where a derivative is asked for: where v equals a bound, it chooses one.
    """
    if torch.is_grad_enabled() and (v.requires_grad or bound.requires_grad):
        return torch.clamp(v, -bound, bound)
    return torch.minimum(torch.maximum(v, -bound), bound)


class GroupL1(Functional):
    r"""sum_k sum_g lam_g (sum_{i in g} |v_i[k]|^2)^{1/2}: one Euclidean length for each pixel k and group g.   (4.2)

    lam    >= 0, one number or one for each group
    axis   the axis i: components of a gradient, bands of a transform (negative)
    sizes  how the axis is cut into groups of neighbours, such as (1, 3, 3) for the average and two levels of Haar's W;
           by default one group

    prox_tau shortens each length by tau lam_g, to no less than 0.
    """

    proximal = True
    lam: Tensor

    def __init__(self, lam: Tensor | float, axis: int = -3, sizes: tuple[int, ...] | None = None):
        super().__init__()
        self.register_buffer("lam", check_lam(lam))
        if self.lam.numel() not in (1, len(sizes or (1,))):
            raise ValueError(
                f"GroupL1 takes one lam, or one for each of its {len(sizes or (1,))} groups; got {self.lam.numel()}."
            )
        if not axis < 0:
            raise ValueError(
                f"The axis of GroupL1 is counted from the end, -1 being the last, or a batch would move it; got {axis}."
            )
        self.axis, self.sizes = axis, sizes

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        parts = [lam * root(part.square().sum(self.axis)).sum() for lam, part in self._groups(v)]
        return torch.stack(parts).sum()

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        out = []
        for lam, part in self._groups(v):
            size = part.square().sum(self.axis, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny).sqrt()
            out.append(part * (1 - (tau * lam / size).clamp(max=1.0)))
        return torch.cat(out, self.axis) if self.sizes else out[0]

    def prox_conjugate(self, p: Float[Tensor, "*shape"], sigma: float | Tensor) -> Float[Tensor, "*shape"]:
        """p, every length cut to lam_g."""
        out = []
        for lam, part in self._groups(p):
            size = part.square().sum(self.axis, keepdim=True).clamp_min(torch.finfo(p.dtype).tiny).sqrt()
            out.append(part * (lam / size).clamp(max=1.0))
        return torch.cat(out, self.axis) if self.sizes else out[0]

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """0 if every length is at most lam_g, up to rounding, else infinity."""
        long = [(root(q.square().sum(self.axis)) > lam * slack(p)).any() for lam, q in self._groups(p)]
        return p.new_tensor(math.inf if any(map(bool, long)) else 0.0)

    def _groups(self, v: Tensor) -> list[tuple[Tensor, Tensor]]:
        n = v.shape[self.axis] if v.ndim >= -self.axis else 0
        sizes = self.sizes or (n,)
        if not n or sum(sizes) != n:
            raise ValueError(
                f"GroupL1 groups along axis {self.axis}, which must have {sum(sizes) or 'some'} members; got shape "
                f"{tuple(v.shape)}."
            )
        lam = self.lam.to(v.dtype).flatten().expand(len(sizes))
        return list(zip(lam.unbind(), v.split(list(sizes), self.axis), strict=True))


class Box(Functional):
    r"""0 if lo <= v <= hi, else infinity: grey values that are known to lie between two bounds."""

    proximal = True

    def __init__(self, lo: float = 0.0, hi: float = math.inf):
        super().__init__()
        if not lo <= hi:
            raise ValueError(f"A box needs lo <= hi; got lo={lo}, hi={hi}.")
        self.lo, self.hi = lo, hi

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        outside = bool(((v < self.lo) | (v > self.hi)).any())
        return v.new_tensor(math.inf if outside else 0.0)

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        return v.clamp(self.lo, self.hi)

    def prox_conjugate(self, p: Float[Tensor, "*shape"], sigma: float | Tensor) -> Float[Tensor, "*shape"]:
        """p - sigma lo below, p - sigma hi above, and exactly 0 between."""
        return p - p.clamp(sigma * self.lo, sigma * self.hi)  # type: ignore[arg-type]  # two numbers or two tensors

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """sum max(lo p, hi p), entry by entry."""
        lo, hi = (torch.where(p == 0, p, bound * p) for bound in (self.lo, self.hi))
        return torch.maximum(lo, hi).sum()


class GroupBall(Functional):
    r"""0 if (sum_i |p_i[k]|^2)^{1/2} <= radius for each pixel k, else infinity: the fields allowed in the sup of (3.1).

    The conjugate of GroupL1(radius): prox cuts every length to the radius, for every tau; the conjugate of the
    indicator is sum_k radius |v[k]|.

    radius  >= 0
    axis    the axis i of the components, counted from the end
    """

    proximal = True

    def __init__(self, radius: float = 1.0, axis: int = -3):
        super().__init__()
        self.norm = GroupL1(radius, axis)

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        return self.norm.conjugate(v)

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        return self.norm.prox_conjugate(v, tau)

    def prox_conjugate(self, p: Float[Tensor, "*shape"], sigma: float | Tensor) -> Float[Tensor, "*shape"]:
        """p, every length shortened by sigma radius, to no less than 0."""
        return self.norm.prox(p, sigma)

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """sum_k radius |p[k]|."""
        return self.norm(p)


def slack(p: Tensor) -> float:
    """How far beyond a bound a multiplier may lie by rounding: a factor a little over 1."""
    return 1 + torch.finfo(p.dtype).eps ** 0.5


def check_lam(lam: Tensor | float) -> Tensor:
    """lam as a float64 tensor; ValueError unless it is finite and >= 0."""
    value = torch.as_tensor(lam, dtype=torch.float64)
    if not bool((value >= 0).all() and torch.isfinite(value).all()):
        raise ValueError(
            "A weight lam must be finite and >= 0 in every band, or the model is not convex; got "
            f"{value.flatten().tolist()[:8]}."
        )
    return value
