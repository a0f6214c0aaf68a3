r"""What is compared beyond pictures: ways to find a set, a surface, a volume, each with one weight.   Section 4.2

    SEGMENTERS   {name: Method}    a picture in [0, 1], bright things on dark -> the set
    closing      points -> delta   the band of `surface_model`, chosen without the truth
    surface      points -> u       `surface_model` from the start of `smooth_model`
    DENOISERS    {name: Method}    a noisy volume -> a volume, given sigma

A weight is chosen by `tuned` on other data than those it is measured on. Chan and Vese's level sets, with and without
a morphological curvature, Chambolle's TV and the non-local means are scikit-image's.

Notebook: 15.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from companion import (
    PDHG,
    FrameletTransform,
    Problem,
    Region,
    Shrinkage,
    Soft,
    TightFrameSegmentation,
    TwoRegions,
    WeightedLength,
    all_sure,
    bspline,
    distance_to,
    inside_outside,
    region_cost,
    run,
    segmentation,
    smooth_model,
    surface_model,
    tv_segmentation,
)
from companion.lab.quality import best_weight
from companion.lab.segment import chan_vese, otsu
from companion.lab.volumes import shrunk
from companion.operators.linear import LinearOperator


class Method(NamedTuple):
    """`find(data, weight)`, and between which weights to look; lo = hi where there is none to choose."""

    find: Callable[[Tensor, float], Tensor]
    lo: float
    hi: float


def tuned(method: Method, score: Callable[[Callable[[Tensor], Tensor]], float], factor: float = 1.4) -> float:
    """The weight with the highest score(data -> method.find(data, weight)), to that factor."""
    if method.lo == method.hi:
        return method.lo
    return best_weight(lambda w: score(lambda f: method.find(f, w)), method.lo, method.hi, factor)[0]


@functools.cache
def frame(order: int, levels: int = 1, dim: int = 2) -> FrameletTransform:
    """The splines' transform, reflecting where its filters allow it."""
    return FrameletTransform(bspline(order), levels, dim=dim, boundary="periodic" if order % 2 else "reflect")


# ---- sets ----


def by_means(f: Tensor, model: Callable[[Tensor], Problem], k: int = 12) -> Bool[Tensor, "H W"]:
    """{u > 1/2} after k changes of the means, each with 20 steps of PDHG."""
    with torch.no_grad():
        return run(TwoRegions(f, model), f, k=k).u > 0.5


def by_tv(f: Tensor, lam: float) -> Bool[Tensor, "H W"]:
    """Chan, Esedoglu and Nikolova's model, the means included."""
    return by_means(f, lambda c: tv_segmentation(f, c, lam))


def by_frame(f: Tensor, lam: float, order: int = 2) -> Bool[Tensor, "H W"]:
    """The same with |lam . W u|_1 for the length, as in (2.5)."""
    W = frame(order)
    return by_means(f, lambda c: segmentation(f, c, W, W.weights(lam).to(f)))


def by_lengths(f: Tensor, lam: float, order: int = 2) -> Bool[Tensor, "H W"]:
    """The same with lam sum_k |(W u)[k]|, the Euclidean length over the high bands, as in (4.2)."""
    return by_means(f, lambda c: length_model(f, c, lam, frame(order)))


def length_model(f: Tensor, means: Tensor, lam: float, W: FrameletTransform) -> Problem:
    """<(c_1 - f)^2 - (c_2 - f)^2, u> + lam sum_k |(W u)[k]| on [0, 1]."""
    problem = Problem(Region(region_cost(f, means)), WeightedLength(torch.full_like(f, lam)), W)
    problem.ratio = 1 / lam
    return problem


def by_sorting(f: Tensor, lam: float, before: int = 0) -> Bool[Tensor, "H W"]:
    """The tight-frame algorithm for vessels, after `before` steps of shrinkage with the same threshold."""
    W = frame(2, 2)
    S = Soft(W.weights(lam).to(f))
    with torch.no_grad():
        v = run(Shrinkage(W, S), f, k=before).u if before else f
        return run(TightFrameSegmentation(W, S), v, k=100, until=all_sure).u > 0.5


def morphological(f: Tensor, smoothing: float) -> Bool[Tensor, "H W"]:
    """scikit-image's morphological Chan and Vese, 100 steps, the curvature applied `smoothing` times; brighter part."""
    from skimage.segmentation import morphological_chan_vese

    part = torch.from_numpy(morphological_chan_vese(f.numpy(), 100, smoothing=round(smoothing)) > 0)
    inside, outside = f[part], f[~part]
    return part if not len(outside) or (len(inside) and inside.mean() >= outside.mean()) else ~part


SEGMENTERS = {
    "Otsu": Method(lambda f, _: otsu(f), 0.0, 0.0),
    "Chan-Vese": Method(chan_vese, 1e-3, 3.0),
    "morphological": Method(morphological, 0.5, 8.0),
    "TV": Method(by_tv, 1e-3, 1.0),
    "Haar, (2.5)": Method(functools.partial(by_frame, order=1), 1e-3, 1.0),
    "linear, (2.5)": Method(by_frame, 1e-3, 1.0),
    "Haar, (4.2)": Method(functools.partial(by_lengths, order=1), 1e-3, 1.0),
    "sorting": Method(by_sorting, 1e-3, 1.0),
    "denoised, sorting": Method(functools.partial(by_sorting, before=8), 1e-3, 0.3),
}

# ---- surfaces ----


def closing(points: Float[Tensor, "N 3"], n: int, margin: float = 1.25) -> float:
    """delta, chosen without the truth: `margin` times the multiple of 0.01 that has most voxels inside.

    A smaller band leaks, and leaves pockets at most; a larger one takes from the inside.
    """
    phi, inside = distance_to(points, n), {}
    for k in range(2, 40):
        try:
            inside[k] = int((inside_outside(phi, 0.01 * k) < 0).sum())
        except ValueError:
            continue
    if not inside:
        raise ValueError("No band around these points has an inside: they surround nothing, or n is too small.")
    return margin * 0.01 * max(inside, key=lambda k: inside[k])


def surface(
    points: Float[Tensor, "N 3"], W: LinearOperator, n: int, delta: float, lam: float = 1.0, k: int = 150
) -> Float[Tensor, "n n n"]:
    """u of `surface_model` after k steps of PDHG, in float32, from the minimiser of `smooth_model`."""
    u0 = smooth_model(points, n, delta, 1e-3).minimiser(1e-6).clamp(0, 1).float()
    with torch.no_grad():
        return run(PDHG(surface_model(points.float(), W, lam, n, delta)), u0, k=k).u


# ---- volumes ----


def denoisers(sigma: float) -> dict[str, Method]:
    """For noise of that deviation; the frames shrink once, weights in units of the noise in each band.

    Chambolle's iteration ends at eps = 1e-5: at its default it stops so early that the best weight means little.
    """

    def total_variation(f: Tensor, w: float) -> Tensor:
        from skimage.restoration import denoise_tv_chambolle

        return torch.from_numpy(denoise_tv_chambolle(f.numpy(), w, eps=1e-5))

    def similar(f: Tensor, w: float) -> Tensor:
        from skimage.restoration import denoise_nl_means

        u = denoise_nl_means(f.numpy(), patch_size=3, patch_distance=3, h=w * sigma, sigma=sigma, fast_mode=True)
        return torch.from_numpy(u)

    frames = {
        f"{name} frame, {dim}-D": Method(functools.partial(_shrunk, order, dim, sigma), 0.2, 5.0)
        for name, order in (("Haar", 1), ("linear", 2))
        for dim in (2, 3)
    }
    return frames | {
        "TV, 2-D": Method(lambda f, w: torch.stack([total_variation(u, w) for u in f]), 1e-3, 1.0),
        "TV, 3-D": Method(total_variation, 1e-3, 1.0),
        "non-local means, 3-D": Method(similar, 0.05, 2.0),
    }


def _shrunk(order: int, dim: int, sigma: float, f: Tensor, times: float) -> Tensor:
    return shrunk(f, frame(order, 2 if order == 1 else 1, dim), sigma, times)


def mean(values: Sequence[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)
