r"""min_{0<=u<=1} <r, u> + sum_k w[k] |(W u)[k]|, w = lam (phi/delta)^p: a surface through unorganised points.   [50]

phi(x) is the distance from x to the nearest point. A surface near the points has a small area weighted by phi^p; where
points are missing a small area is a smooth cap. So the surface is the boundary of {u > 1/2}, and the model is the
`segmentation` of space with a weight: after [50], which has a frame where earlier models have TV. |(W u)[k]| is the
Euclidean length of the high bands at the voxel k, as in (4.2). For Haar it charges a plane normal to (1, 1, 1) 1.34
times as much as one normal to an axis; the sum entry by entry does so 3.2 times, and makes boxes. Without r the best u
would be 0. What is inside is told by

    r = +1  in the part of {phi > delta} that is joined to the border of the box,
    r = -1  in the rest of {phi > delta},     r = 0  in the band {phi <= delta}.

delta must exceed the distance from the surface to the points, or the outside leaks in, and stay below the radius of the
body and of its handles, or they are filled. Neither normals nor an order of the points are asked for. The details of
[50] (its force r, its weights) may be others; this is the model in its simplest form.

Space is the cube [-1, 1]^3 of n^3 voxels, axes (x, y, z); voxel i has its centre at (2i + 1)/n - 1.

Paper: Section 4.2 [50].  Notebook: 15.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from companion.energies.functional import Functional
from companion.energies.models import Problem, Tikhonov, tikhonov
from companion.energies.norms import check_lam, slack
from companion.energies.segmentation import Region
from companion.operators.banks import bspline
from companion.operators.differences import Gradient
from companion.operators.frames import FrameletTransform
from companion.operators.linear import LinearOperator
from companion.operators.measure import Mask


class WeightedLength(Functional):
    r"""sum_k w[k] (sum_i |v_i[k]|^2)^{1/2}: an area, each voxel with its weight.   (4.2)

    w      >= 0, of the shape of a picture, (*space); the axis i stands before it
    bands  the first i of the sum: 1 leaves out the average of a frame, 0 takes every component of a gradient

    prox_tau shortens the length at k by tau w[k], to no less than 0; the components before `bands` pass unchanged.
    """

    proximal = True
    lam: Tensor

    def __init__(self, w: Tensor, bands: int = 1):
        super().__init__()
        self.register_buffer("lam", check_lam(w))
        self.bands, self.axis = bands, -self.lam.ndim - 1

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        return (self.lam.to(v.dtype) * torch.linalg.vector_norm(self._high(v), dim=self.axis)).sum()

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        return v - tau * self.prox_conjugate(v / tau, 1 / tau)

    def prox_conjugate(self, p: Float[Tensor, "*shape"], sigma: float | Tensor) -> Float[Tensor, "*shape"]:
        """p, every length cut to w[k], and 0 before `bands`."""
        low, high = p.narrow(self.axis, 0, self.bands), self._high(p)
        size = high.square().sum(self.axis).clamp_min(torch.finfo(p.dtype).tiny).sqrt()  # vector_norm takes ten times
        cut = (self.lam.to(p.dtype) / size).clamp(max=1.0).unsqueeze(self.axis)
        return torch.cat([torch.zeros_like(low), cut * high], self.axis)

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """0 if every length is at most w[k], up to rounding, and what comes before `bands` is 0, else infinity."""
        size = torch.linalg.vector_norm(self._high(p), dim=self.axis)
        long = (size > self.lam.to(p.dtype) * slack(p)).any() | (p.narrow(self.axis, 0, self.bands) != 0).any()
        return p.new_tensor(math.inf if bool(long) else 0.0)

    def _high(self, v: Tensor) -> Tensor:
        """What comes from `bands` on."""
        if v.shape[self.axis + 1 :] != self.lam.shape:
            raise ValueError(
                f"The weights have shape {tuple(self.lam.shape)}, so the last axes of W u must too; got shape "
                f"{tuple(v.shape)}."
            )
        return v.narrow(self.axis, self.bands, v.shape[self.axis] - self.bands)


def distance_to(points: Float[Tensor, "N 3"], n: int) -> Float[Tensor, "n n n"]:
    """phi: from the centre of each voxel of [-1, 1]^3 to the nearest of the points.

    Raises ValueError for points that are not (N, 3), or outside the open cube, and for n < 1.
    """
    from scipy.spatial import cKDTree

    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f"A set of points in space is a tensor (N, 3), N >= 1; got shape {tuple(points.shape)}.")
    if not bool((points.abs() < 1).all()):
        far = float(points.abs().max())
        raise ValueError(
            f"The points must lie inside the cube (-1, 1)^3; got a coordinate of size {far:.3g}. Shift and scale them."
        )
    if n < 1:
        raise ValueError(f"The cube has n >= 1 voxels along each axis; got n = {n}.")
    axis = (2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1
    centres = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    distance, _ = cKDTree(points.detach().cpu().double().numpy()).query(centres.numpy())
    return torch.from_numpy(distance).reshape(n, n, n).to(points)


def inside_outside(phi: Float[Tensor, "n n n"], delta: float) -> Float[Tensor, "n n n"]:
    """r: 1 where {phi > delta} is joined to the border of the cube, -1 elsewhere in {phi > delta}, 0 in the band.

    Raises ValueError if nothing is inside: the band has a leak, or fills all.
    """
    from scipy.ndimage import label

    if not 0 < delta < math.inf:
        raise ValueError(f"The band {{phi <= delta}} around the points needs a finite delta > 0; got {delta}.")
    parts, _ = label((phi > delta).cpu().numpy())
    parts = torch.from_numpy(parts).to(phi.device)
    faces = [parts.select(axis, end) for axis in range(3) for end in (0, -1)]
    outer = torch.isin(parts, torch.unique(torch.cat([face.flatten() for face in faces])))
    r = torch.where(parts == 0, 0.0, torch.where(outer, 1.0, -1.0)).to(phi)
    if not bool((r < 0).any()):
        raise ValueError(
            f"With delta = {delta} no voxel is inside: either the band {{phi <= delta}} has a gap through which the "
            "outside enters, and a larger delta closes it, or it fills the body, and a smaller one leaves something."
        )
    return r


def surface_model(
    points: Float[Tensor, "N 3"], W: LinearOperator, lam: float, n: int, delta: float, p: float = 2.0
) -> Problem:
    r"""min_{0<=u<=1} <r, u> + sum_k w[k] |(W u)[k]|, w = lam (phi/delta)^p.   After [50].   For PDHG, or ADMM if W is
    tight.

    W      a FrameletTransform of dimension 3, or Gradient(dim=3) for TV
    lam    > 0; under about 1 no voxel leaves the side that r gives it
    n      voxels along each axis
    delta  of r
    p      > 0: with 1 the area, which is less further in, pulls the surface in; with 2 it pulls less, since the weight
           rises faster away from the points

    phi^p is averaged over the voxels that a filter compares, by the low-pass filter of W, or Haar's for a gradient.
    Start from `smooth_model`.
    """
    if not 0 < p < math.inf:
        raise ValueError(f"The weight (phi/delta)^p of a surface needs a finite p > 0; got p = {p}.")
    phi = distance_to(points, n)
    framed = isinstance(W, FrameletTransform)
    average = W if framed else FrameletTransform(bspline(1), dim=3)
    weight = lam * average((phi / delta) ** p)[0]
    problem = Problem(Region(inside_outside(phi, delta)), WeightedLength(weight, int(framed)), W)
    problem.ratio = 32 / (float(weight.max()) or 1.0)
    return problem


def smooth_model(points: Float[Tensor, "N 3"], n: int, delta: float, alpha: float = 1e-2) -> Tikhonov:
    r"""min_u 1/2 |M (u - s)|^2 + alpha/2 |D u|^2: s is 1 inside, 0 outside, M leaves out the band.   `.minimiser()`

    For alpha -> 0 a harmonic function in the band: the plain quadratic model, which sees the points by the band alone.
    """
    r = inside_outside(distance_to(points, n), delta)
    return tikhonov(Mask(r != 0), (r < 0).to(r.dtype), alpha, Gradient(dim=3))
