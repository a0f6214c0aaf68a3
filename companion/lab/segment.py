r"""Pictures to cut in two, what is known of their truth, and how well a set agrees with it.   Section 4.2

    islands, vessel_tree   generated: a picture in [0, 1] and its exact set
    coins                  a photograph, with a reference that was made, not measured: see `coins`
    retina, microaneurysms, cell   photographs without a reference: only lengths and energies can be compared

`dice` measures agreement, `otsu` and `chan_vese` are what scikit-image offers, `outlined` draws a set's boundary.

Notebook: 15.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from companion.lab.images import average
from companion.operators.smoothing import gaussian_smooth


class Known(NamedTuple):
    """A picture with values in [0, 1], and the set of pixels that are wanted."""

    f: Float[Tensor, "H W"]
    truth: Bool[Tensor, "H W"]


CREDITS = {  # picture: (what, origin, licence), as the documentation of scikit-image states them
    "coins": ("Greek coins from Pompeii on a grey ground", "Brooklyn Museum Collection", "no known restrictions"),
    "microaneurysms": ("a detail of a retina, with lesions", "HRF database, Budai et al. (2013)", "CC0"),
    "retina": ("the fundus of a healthy left eye", "photograph by Mikael Haggstrom (2014)", "CC0"),
    "cell": ("the phase of light behind a cell in saline", "Paul Mueller et al. (2018)", "CC0"),
}


def islands(n: int = 128, seed: int = 0) -> Known:
    """Eight discs and ellipses, some of which overlap: 0.7 on 0.3, edges one pixel wide."""
    rng = np.random.default_rng(seed)
    x, y = _grid(n)
    depth = np.full((n, n), -np.inf)
    for _ in range(8):
        cx, cy = rng.uniform(0.15, 0.85, 2) * n
        a, b = rng.uniform(0.05, 0.16, 2) * n
        turn = rng.uniform(0, math.pi)
        p = ((x - cx) * math.cos(turn) + (y - cy) * math.sin(turn)) / a
        q = ((y - cy) * math.cos(turn) - (x - cx) * math.sin(turn)) / b
        radius = np.hypot(p, q)
        slope = np.hypot(p / a, q / b) / np.maximum(radius, 1e-9)
        depth = np.maximum(depth, (1 - radius) / np.maximum(slope, 1e-9))
    return _known(depth)


def vessel_tree(n: int = 128, seed: int = 0) -> Known:
    """A tree of vessels that branch and taper from n/25 to about one pixel: 0.7 on 0.3, edges one pixel wide.

    Pixel by pixel the truth is where at least half a pixel is covered.
    """
    rng = np.random.default_rng(seed)
    x, y = _grid(n)
    depth = np.full((n, n), -np.inf)
    buds = [(0.05 * n, rng.uniform(0.35, 0.65) * n, 0.0, n / 50, 0)]
    while buds:
        px, py, angle, radius, level = buds.pop()
        for _ in range(int(rng.integers(5, 8))):
            angle = angle + rng.normal(0, 0.16)
            qx, qy = px + 0.045 * n * math.cos(angle), py + 0.045 * n * math.sin(angle)
            t = np.clip(((x - px) * (qx - px) + (y - py) * (qy - py)) / (0.045 * n) ** 2, 0, 1)
            depth = np.maximum(depth, radius - np.hypot(x - px - t * (qx - px), y - py - t * (qy - py)))
            px, py, radius = qx, qy, max(0.97 * radius, 0.6)
        if level < 4:
            for side in (-1, 1):
                buds.append((px, py, angle + side * rng.uniform(0.3, 0.75), max(0.72 * radius, 0.6), level + 1))
    return _known(depth)


def coins() -> Known:
    """The 24 coins, (303, 384), and a reference: the watershed of the slope between markers, its holes filled.

    No ground truth comes with the photograph. The markers are f < 30/255 and f > 150/255, the basins meet where the
    Sobel slope is highest, specks under 300 pixels are dropped: the recipe of scikit-image's gallery. Drawn over the
    photograph the outlines follow all coins. It knows nothing of two means. The light falls off to the bottom, and
    `flattened(f, 40.0)` evens it.
    """
    from scipy import ndimage
    from skimage.filters import sobel
    from skimage.morphology import label
    from skimage.segmentation import watershed

    grey = _photograph("coins.png")
    markers = np.where(grey > 150, 2, np.where(grey < 30, 1, 0))
    parts = label(ndimage.binary_fill_holes(watershed(sobel(grey / 255), markers) == 2))
    truth = np.isin(parts, 1 + np.flatnonzero(np.bincount(parts.ravel())[1:] > 300))
    return Known(torch.from_numpy(grey / 255), torch.from_numpy(truth))


def small_coins() -> Known:
    """The coins, flattened by a Gaussian of 40 pixels, and their reference, (151, 192): means of 2 x 2 pixels."""
    f, truth = coins()
    pairs = (flattened(f, 40.0), truth.double())
    f, share = (u[:302].unflatten(0, (151, 2)).unflatten(2, (192, 2)).mean((1, 3)) for u in pairs)
    return Known(f.float(), share > 0.5)


def flattened(f: Float[Tensor, "H W"], sigma: float, dark: bool = False) -> Float[Tensor, "H W"]:
    """f minus its Gaussian of deviation sigma pixels, stretched to [0, 1] without uneven light; dark: its negative."""
    u = f - gaussian_smooth(f, sigma)
    u = -u if dark else u
    low, high = u.quantile(0.001), u.quantile(0.999)
    return ((u - low) / (high - low)).clamp(0, 1)


def microaneurysms() -> Float[Tensor, "102 102"]:
    """Three vessels and some lesions of a retina, bright on dark, flattened by a Gaussian of 8 pixels; no reference."""
    return flattened(torch.from_numpy(_photograph("microaneurysms.png") / 255), 8.0, dark=True)


def retina(n: int = 256) -> Float[Tensor, "n n"]:
    """Vessels of a retina, bright on dark: the green channel flattened by a Gaussian of n/32 pixels; no reference.

    The central square inside the disc, shrunk by area averages.
    """
    g = average(torch.from_numpy(_photograph("retina.jpg")[205:1205, 205:1205, 1].astype(np.float64) / 255), n)
    return flattened(g, n / 32, dark=True)


def cell() -> Float[Tensor, "H W"]:
    """A cell, its phase as grey values: half the size, (330, 275)."""
    grey = _photograph("cell.png").astype(np.float64) / 255
    return torch.from_numpy(grey.reshape(330, 2, 275, 2).mean((1, 3)))


def dice(u: Float[Tensor, "*shape"] | Bool[Tensor, "*shape"], truth: Bool[Tensor, "*shape"]) -> float:
    """2 |S and T| / (|S| + |T|), S = {u > 1/2}: 1 where the sets agree, 0 where they do not meet.

    >>> dice(torch.tensor([1.0, 0.9, 0.1]), torch.tensor([True, False, False]))
    0.6666666666666666
    """
    S = u > 0.5 if u.is_floating_point() else u
    total = int(S.sum() + truth.sum())
    return 2 * int((S & truth).sum()) / total if total else 1.0


def otsu(f: Float[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """{f > t}, t Otsu's threshold: no length is charged. scikit-image's."""
    from skimage.filters import threshold_otsu

    return f > float(threshold_otsu(f.numpy()))


def chan_vese(f: Float[Tensor, "H W"], mu: float, k: int = 2000) -> Bool[Tensor, "H W"]:
    """scikit-image's Chan and Vese: level sets from a checkerboard, length mu, at most k steps; the brighter part.

    Its default tolerance, 1e-3, and a few hundred steps end long before the set is at rest: here it is 1e-6.
    """
    from skimage.segmentation import chan_vese as level_sets

    part = torch.from_numpy(level_sets(f.numpy(), mu=mu, tol=1e-6, max_num_iter=k))
    inside, outside = f[part], f[~part]
    return part if not len(outside) or (len(inside) and inside.mean() >= outside.mean()) else ~part


def boundary_length(S: Bool[Tensor, "H W"]) -> int:
    """How many pairs of neighbours S separates: its entrywise TV."""
    return int((S[1:] != S[:-1]).sum() + (S[:, 1:] != S[:, :-1]).sum())


def outlined(f: Float[Tensor, "H W"], *sets: Bool[Tensor, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with the inner edge of up to three sets: red, blue, green, in this order."""
    from companion.lab.raster import pixels

    rgb = np.repeat(pixels(f)[..., None], 3, axis=2)
    for S, colour in zip(sets, ((214, 39, 40), (31, 119, 240), (44, 160, 44)), strict=False):
        s = np.pad(S.numpy(), 1, mode="edge")
        inner = s[1:-1, 1:-1] & s[:-2, 1:-1] & s[2:, 1:-1] & s[1:-1, :-2] & s[1:-1, 2:]
        rgb[S.numpy() & ~inner] = colour
    return rgb


def _grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    if n < 32:
        raise ValueError(
            f"A generated picture needs n >= 32 pixels a side, or its parts are thinner than one; got {n}."
        )
    y, x = np.mgrid[:n, :n]
    return x + 0.5, y + 0.5


def _known(depth: np.ndarray) -> Known:
    """0.3 outside, 0.7 inside, linear over one pixel; depth is the distance to the edge, positive inside."""
    return Known(torch.from_numpy(0.3 + 0.4 * np.clip(depth + 0.5, 0, 1)), torch.from_numpy(depth > 0))


def _photograph(file: str) -> np.ndarray:
    import skimage
    from PIL import Image

    with Image.open(Path(skimage.__file__).parent / "data" / file) as picture:
        return np.array(picture)
