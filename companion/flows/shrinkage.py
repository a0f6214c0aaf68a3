r"""S_lambda(d) = d (1 - lambda(d)),   u^k = W~^T S(W u^{k-1}): framelet shrinkage.   (4.4), (4.5)

A shrinkage is given by its *level* lambda(d) in [0, 1], the fraction of a coefficient that is taken away. With a
threshold lam and t = |d|:

    Soft         lambda = min(1, lam / t)                           S(d) = sign(d) max(t - lam, 0)
    Hard         lambda = 1 for t <= lam, else 0                    S(d) = d or 0
    Garrote      lambda = min(1, lam^2 / t^2)                       S(d) = d - lam^2 / d, or 0
    Firm         lambda = 1, falling to 0 between lam and mu        continuous, exact for t >= mu
    Isotropic(S, W)   the level of S at t = (sum_ell |d_ell|^2)^{1/2}, over the bands of one level at one pixel
    IsotropicSoft     Isotropic(Soft(lam), W)

At d = 0 the level is 1: S(0) = 0, nothing is divided by 0. lam is a number, or a tensor that broadcasts over the
bands with 0 on the average, as `W.weights(lam)` makes it; where lam = 0 nothing is shrunk.

Paper: (4.4), (4.5).  Notebooks: 00, 02, 08.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.one_pass import one_pass
from companion.kernels.shrinkage import Rule
from companion.operators.frames import FrameletTransform


class Threshold(nn.Module):
    r"""S(d) = d (1 - lambda(d)).   (4.4)   Subclasses write `level`; lam is a buffer, so a learned threshold is a
    Parameter.

    Raises ValueError if lam has a negative or non-finite entry.
    """

    lam: Tensor

    def __init__(self, lam: float | Tensor):
        super().__init__()
        self.register_buffer("lam", check_threshold("lam", lam))

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """lambda(d) in [0, 1]: the fraction of each coefficient that is taken away."""
        raise TypeError(f"{type(self).__name__} must define level(d), the fraction of each coefficient taken away.")

    def threshold(self, d: Tensor) -> Tensor:
        """lam in the type of d; ValueError unless it has one value, or one for each band of d."""
        if self.lam.ndim and (self.lam.ndim > d.ndim or self.lam.shape[0] not in (1, d.shape[-self.lam.ndim])):
            raise ValueError(
                f"The threshold is made for {self.lam.shape[0]} bands, the coefficients of shape {tuple(d.shape)} have "
                f"{d.shape[-self.lam.ndim] if self.lam.ndim <= d.ndim else 'none'}. Use weights of the same transform."
            )
        return self.lam.to(d.dtype)

    def forward(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """S(d) = d (1 - lambda(d))."""
        return d * (1 - self.level(d))


class Soft(Threshold):
    r"""S(d) = sign(d) max(|d| - lam, 0), lambda(d) = min(1, lam / |d|): the proximal map of lam |.|_1.   (4.4)

    >>> Soft(1.0)(torch.tensor([-3.0, 0.5, 2.0]))
    tensor([-2.,  0.,  1.])
    """

    rule = Rule.SOFT

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        lam = self.threshold(d)
        return _ratio(lam, d.abs())

    def forward(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        lam = self.threshold(d)
        return d - torch.minimum(torch.maximum(d, -lam), lam)


class Hard(Threshold):
    r"""S(d) = d where |d| > lam, else 0: keep or kill. Not continuous, so no gradient with respect to lam.   (4.4)"""

    rule = Rule.HARD

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return (d.abs() <= self.threshold(d)).to(d.dtype)


class Garrote(Threshold):
    r"""S(d) = d - lam^2 / d where |d| > lam, else 0: continuous, with a bias lam^2/|d| -> 0 where soft keeps lam.
    (4.4)
    """

    rule = Rule.GARROTE

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        lam = self.threshold(d)
        return _ratio(lam.square(), d.square())


class Firm(Threshold):
    r"""S(d) = 0 for |d| <= lam, d for |d| >= mu, and sign(d) mu (|d| - lam) / (mu - lam) between.   (4.4)

    lam, mu   0 <= lam < mu, numbers or tensors that broadcast together (where lam = 0 nothing is shrunk); mu ->
              infinity is soft.
    """

    mu: Tensor
    rule = Rule.FIRM

    def __init__(self, lam: float | Tensor, mu: float | Tensor):
        super().__init__(lam)
        self.register_buffer("mu", check_threshold("mu", mu))
        if not bool(((self.mu > self.lam) | (self.lam == 0)).all()):
            raise ValueError(
                "Firm shrinkage rises from 0 at lam to the identity at mu, so it needs mu > lam wherever lam > 0; got "
                f"mu={self.mu.flatten().tolist()[:8]} for lam={self.lam.flatten().tolist()[:8]}."
            )

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        lam, mu, t = self.threshold(d), self.mu.to(d.dtype), d.abs()
        slope = torch.where(lam > 0, torch.maximum(t, lam) * (mu - lam), 1.0)  # never 0, whichever branch is taken
        between = (lam * (mu - t) / slope).clamp(0, 1)
        return torch.where(lam > 0, torch.where(t <= lam, 1.0, between), 0.0)


class IsotropicSoft(Threshold):
    r"""d_ell -> d_ell (1 - min(1, lam / |d|)), |d| = (sum_ell |d_ell|^2)^{1/2} over the r high bands of a level,
    pixel by pixel.   (4.4)

    lam    one threshold for every level: a number or a tensor of shape (levels, 1, ..., 1)
    W      the transform whose bands are grouped; the average is left alone

    The proximal map of lam sum_k |d[k]|_2: all bands of a level shrink by one factor at a pixel, so the direction of
    the vector (d_ell) is kept.
    """

    rule = Rule.ISOTROPIC

    def __init__(self, lam: float | Tensor, W: FrameletTransform):
        super().__init__(lam)
        self.levels, self.dim, self.bands = W.levels, W.dim, len(W.bands)

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        axis = -self.dim - 1
        if d.shape[axis] != self.bands:
            raise ValueError(
                f"IsotropicSoft groups the {self.bands} bands of its W on axis {axis}; got {d.shape[axis]} bands."
            )
        lam = self.lam.to(d.dtype)
        if lam.ndim:
            if lam.numel() not in (1, self.levels):
                raise ValueError(
                    f"IsotropicSoft takes one threshold, or one for each of {self.levels} levels; got {lam.numel()}."
                )
            lam = lam.reshape(-1, *[1] * (self.dim + 1))
        high = d.narrow(axis, 1, self.bands - 1).unflatten(axis, (self.levels, -1))
        size = high.square().sum(axis, keepdim=True).clamp_min(torch.finfo(d.dtype).tiny).sqrt()
        level = _ratio(lam, size).expand_as(high).flatten(axis - 1, axis)
        return torch.cat([torch.zeros_like(d.narrow(axis, 0, 1)), level], axis)


class Isotropic(nn.Module):
    r"""d_ell -> d_ell (1 - lambda(|d|)), |d| = (sum_ell |d_ell|^2)^{1/2}: a threshold of one number on the size of a
    group of bands, pixel by pixel.   (4.4)

    S      a Threshold with one number lam, or one for each level, of shape (levels, 1, ..., 1); lambda is its level
    W      the transform whose bands are grouped
    bands  the indices ell of a group, such as ((1, 0), (0, 1)), the same at each level; all others pass unchanged. By
           default all high bands

    All bands of a group shrink by one factor, so the direction of the vector (d_ell) is kept.

    Raises TypeError if S is no Threshold; ValueError for a threshold of another length, or no such band.

    >>> from companion import bspline
    >>> W = FrameletTransform(bspline(1))
    >>> d = torch.tensor([9.0, 3.0, 4.0, 1.0]).reshape(4, 1, 1)
    >>> Isotropic(Hard(4.5), W, bands=((1, 0), (0, 1)))(d).flatten()
    tensor([9., 3., 4., 1.])
    """

    def __init__(self, S: Threshold, W: FrameletTransform, bands: Sequence[Sequence[int]] | None = None):
        super().__init__()
        if not isinstance(S, Threshold) or isinstance(S, IsotropicSoft):
            raise TypeError(
                "Isotropic applies the level of a threshold of one number, such as Hard(lam), to the size |d| of a "
                f"group of bands; got {type(S).__name__}."
            )
        if S.lam.ndim not in (0, W.dim + 2) or S.lam.numel() not in (1, W.levels):
            raise ValueError(
                f"Isotropic takes one threshold, a number, or one for each of {W.levels} levels, of shape "
                f"{(W.levels, *[1] * (W.dim + 1))}; got shape {tuple(S.lam.shape)}. The bands of a group share one |d|."
            )
        self.S, self.levels, self.dim, self.bands = S, W.levels, W.dim, len(W.bands)
        chosen = W.indices[1:] if bands is None else [tuple(ell) for ell in bands]
        for ell in chosen:
            if ell not in W.indices[1:]:
                raise ValueError(f"A group is made of the high bands {W.indices[1:]}; got {ell}.")
        self.group = tuple(ell in chosen for ell in W.indices[1:])

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """lambda(|d|) in the bands of a group, 0 in the others."""
        axis = -self.dim - 1
        if d.shape[axis] != self.bands:
            raise ValueError(
                f"Isotropic groups the {self.bands} bands of its W on axis {axis}; got {d.shape[axis]} bands."
            )
        group = torch.tensor(self.group, device=d.device).reshape(-1, *[1] * self.dim)
        high = d.narrow(axis, 1, self.bands - 1).unflatten(axis, (self.levels, len(self.group)))
        grouped = high if all(self.group) else torch.where(group, high, 0.0)
        size = grouped.square().sum(axis, keepdim=True).clamp_min(torch.finfo(d.dtype).tiny).sqrt()
        level = torch.where(group, self.S.level(size), 0.0).flatten(axis - 1, axis)
        return torch.cat([torch.zeros_like(d.narrow(axis, 0, 1)), level], axis)

    def forward(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """S(d) = d (1 - lambda(|d|))."""
        return d * (1 - self.level(d))


class Shrinkage(nn.Module):
    r"""u -> W~^T S(W u): one step of (4.5), a map for `run`.   (4.5)

    W    a FrameletTransform; W~ is its dual, W itself if it is tight
    S    any map of coefficients to coefficients, such as Soft(W.weights(lam))

    Raises ValueError if S has one single threshold for all bands: it would shrink the average too. Use W.weights(lam).
    """

    def __init__(self, W: FrameletTransform, S: Callable[[Tensor], Tensor]):
        super().__init__()
        if isinstance(S, Threshold) and not isinstance(S, IsotropicSoft) and S.lam.numel() == 1 and float(S.lam) > 0:
            raise ValueError(
                f"The threshold lam = {float(S.lam):g} is one number for all bands and would shrink the average too. "
                f"Give each band its own: {type(S).__name__}(W.weights({float(S.lam):g})) has 0 on the average."
            )
        self.W, self.S, self.dual = W, S, W.dual

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """W~^T S(W u)."""
        fused = one_pass(u, self.W, self.S, self.dual)
        return self.dual.T(self.S(self.W(u))) if fused is None else fused


def check_threshold(name: str, value: float | Tensor) -> Tensor:
    """A threshold as a float64 tensor; ValueError unless it is finite and >= 0."""
    tensor = torch.as_tensor(value, dtype=torch.float64)
    if not bool((tensor >= 0).all() and torch.isfinite(tensor).all()):
        raise ValueError(
            f"A threshold {name} must be finite and >= 0 in every band; got {tensor.flatten().tolist()[:8]}."
        )
    return tensor


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """min(1, a / b) for a, b >= 0, with 0 where a = 0 and 1 where 0 = b < a; its gradient is finite everywhere."""
    return a / torch.maximum(torch.maximum(a, b), torch.full_like(b, torch.finfo(b.dtype).tiny))
