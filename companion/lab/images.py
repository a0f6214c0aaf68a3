r"""The signals of the course: one 1-D signal, one photograph, one phantom, and their companions.

Every function returns a float64 tensor with values in [0, 1], the same on every machine, and a fresh one at every
call. Grey pictures are (n, n), colour pictures (3, n, n), the volume is (n, n, n). Photographs ship inside
scikit-image, the MR slice inside nibabel, the phantoms and the 1-D signal are generated: nothing is downloaded.
CREDITS says where each comes from and under which licence; `credits()` of credits.py shows it with the other pictures'.

Shrinking is an exact area average: pixel i of n holds the mean of the picture over [i N/n, (i+1) N/n).

Notebook: 00 (the table of credits), then all.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# Toft's table, the Shepp-Logan phantom in better contrast:
# amplitude in tenths, semi-axes a and b, centre x and y, angle in degrees
_HEAD = (
    (10, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-2, 0.11, 0.31, 0.22, 0.0, -18.0),
    (-2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (1, 0.21, 0.25, 0.0, 0.35, 0.0),
    (1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (1, 0.046, 0.046, 0.0, -0.1, 0.0),
    (1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (1, 0.023, 0.023, 0.0, -0.606, 0.0),
    (1, 0.023, 0.046, 0.06, -0.605, 0.0),
)
# the same ten with a third semi-axis c and a third coordinate z of the centre
_DEPTH = ((0.81, 0), (0.78, 0), (0.22, 0), (0.28, 0), (0.41, -0.15), (0.05, 0.25), (0.05, 0.25), *[(0.05, 0)] * 3)

_PHOTOGRAPHS = {
    "camera": "a man with a camera on a tripod, tall buildings behind",
    "astronaut": "the astronaut Eileen Collins before a flag and a model of the Space Shuttle",
    "coffee": "a cup of coffee on a wooden table",
    "cat": "the face of Chelsea, a cat",
    "rocket": "a rocket on its launch pad at dusk, between four masts",
    "coins": "Greek coins from Pompeii on a grey ground",
}
CREDITS = {  # signal: (what, origin, licence), as the documentation of scikit-image and nibabel states them
    "camera": (_PHOTOGRAPHS["camera"], "photograph by Lav Varshney", "CC0"),
    "astronaut": (_PHOTOGRAPHS["astronaut"], "NASA Great Images database", "public domain"),
    "coffee": (_PHOTOGRAPHS["coffee"], "photograph by Rachel Michetti, courtesy of Pikolo Espresso Bar", "CC0"),
    "cat": (_PHOTOGRAPHS["cat"], "photograph by Stefan van der Walt", "CC0"),
    "rocket": (_PHOTOGRAPHS["rocket"], "SpaceX Photos", "public domain"),
    "coins": (_PHOTOGRAPHS["coins"], "Brooklyn Museum Collection", "no known copyright restrictions"),
    "fur": ("the forehead of Chelsea, the cat: fur", "photograph by Stefan van der Walt", "CC0"),
    "texture": ("a brick wall", "CC0Textures, Bricks25", "CC0"),
    "colour": ("the astronaut in colour", "NASA Great Images database", "public domain"),
    "mr_slice": ("a section of a head by magnetic resonance", "example4d.nii.gz of the package nibabel", "MIT"),
    "phantom": (
        "a section of a head, ten ellipses",
        "generated; the table is P. Toft's, after Shepp and Logan (1974)",
        "none needed",
    ),
    "volume": ("a head, ten ellipsoids", "generated", "none needed"),
    "step_and_ramp": ("a 1-D signal with two jumps, a kink and a bump", "generated", "none needed"),
}


def step_and_ramp(n: int = 256) -> Float[Tensor, "n"]:
    r"""u(x) at the midpoints x = (i + 1/2)/n of n cells of [0, 1]: constant, jump, ramp with a kink, smooth bump.

        0.2                          0    <= x < 1/8     a constant,
        0.8                          1/8  <= x < 5/16    a jump up at 1/8, a jump down at 5/16,
        0.2 + 0.5 (x - 3/8)/(3/16)   3/8  <= x < 9/16    a slow rise from a kink at 3/8,
        0.2 + 0.5 (5/8 - x)/(1/16)   9/16 <= x < 5/8     a fast fall from a kink at 9/16 to a kink at 5/8,
        0.2 + 0.7 exp(1 - 1/(1-s^2)) 11/16 < x < 15/16   a bump with all derivatives, s = 8 (x - 13/16),

    and 0.2 in the gaps. The periodic extension has no further jump. The jumps lie between pixels where 16 divides n.
    """
    _positive(n)
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    s = (8 * (x - 13 / 16)).clamp(-1 + 1e-9, 1 - 1e-9)
    u = 0.2 + 0.7 * torch.exp(1 - 1 / (1 - s * s))
    u = torch.where((x >= 1 / 8) & (x < 5 / 16), 0.8, u)
    ramp = 0.2 + 0.5 * torch.minimum((x - 3 / 8) / (3 / 16), (5 / 8 - x) / (1 / 16))
    return torch.where((x >= 3 / 8) & (x < 5 / 8), ramp, u)


def camera(n: int = 256) -> Float[Tensor, "n n"]:
    """The course's photograph: means of (512/n) x (512/n) blocks of scikit-image's `camera`.

    Raises ValueError unless n divides 512.
    """
    return average(_photograph("camera"), _divisor(n)) / 255


def texture(n: int = 256) -> Float[Tensor, "n n"]:
    """A brick wall, fine and almost periodic, by block means; n divides 512."""
    return average(_photograph("brick"), _divisor(n)) / 255


def fur(n: int = 128) -> Float[Tensor, "n n"]:
    """The forehead of the cat, 128 x 128 pixels of fur that runs like the ridges of a fingerprint; n divides 128.

    Luminance of scikit-image's `chelsea` in its rows 0 to 127, columns 190 to 317, from the 0.5 % quantile to the 99.5
    % quantile stretched to [0, 1] and clipped; block means.
    """
    u = _luminance(_photograph("cat"))[:128, 190:318]
    low, high = u.quantile(0.005), u.quantile(0.995)
    return average(((u - low) / (high - low)).clamp(0, 1), _divisor(n, 128))


def colour(n: int = 256) -> Float[Tensor, "3 n n"]:
    """A colour photograph as a batch of three grey ones: red, green, blue, by block means; n divides 512."""
    return average(_photograph("astronaut"), _divisor(n)) / 255


def photographs(n: int = 256) -> dict[str, Float[Tensor, "n n"]]:
    """Six grey photographs {name: picture}, the central square of each shrunk to n x n; n is at most 300."""
    if not 1 <= n <= 300:
        raise ValueError(f"The photographs shrink to n x n with 1 <= n <= 300 (the smallest is 300 high); got n = {n}.")
    pictures = {}
    for name in _PHOTOGRAPHS:
        u = _photograph(name)
        u = _luminance(u) if u.ndim == 3 else u
        m = min(u.shape)
        top, left = (u.shape[0] - m) // 2, (u.shape[1] - m) // 2
        pictures[name] = average(u[top : top + m, left : left + m], n) / 255
    return pictures


def mr_slice(n: int = 128) -> Float[Tensor, "n n"]:
    """A real magnetic-resonance slice through the lateral ventricles, seen from the feet, forehead up; n divides 128.

    Slice 15 of the first volume (128 x 96 pixels of 2 mm, axes towards the left and the front) with 16 rows of zeros
    above and below, over its 99.5 % quantile, clipped to [0, 1], and block means. The patient's left is on the right.
    """
    import nibabel

    _divisor(n, 128)
    scan = nibabel.Nifti1Image.from_filename(Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz")
    u = np.asarray(scan.dataobj[:, ::-1, 15, 0], dtype=np.float64).T
    u = np.pad(u / np.percentile(u, 99.5), ((16, 16), (0, 0)))
    return average(torch.from_numpy(u).clamp(0, 1), n)


def phantom(n: int = 256) -> Float[Tensor, "n n"]:
    """Ten ellipses on [-1, 1]^2, the Shepp-Logan head in Toft's contrast, any n; a pixel averages 4 x 4 samples."""
    _positive(n)
    u = torch.zeros(n, n, dtype=torch.float64)
    for i in range(16):  # one sample of each pixel after the other: no picture of 4n x 4n is held
        x, y = ((4 * torch.arange(n, dtype=torch.float64) + offset + 0.5) / (2 * n) - 1 for offset in (i % 4, i // 4))
        for amplitude, *ellipse in _HEAD:
            p, q = _own_axes(x, -y[:, None], *ellipse)
            u += amplitude * (p * p + q * q <= 1)
    return u / 160


def ellipses() -> list[dict[str, float]]:
    """The ten ellipses of the phantom, as `ellipse_projection` takes them: amplitude, a, b, x0, y0, degrees."""
    names = ("amplitude", "a", "b", "x0", "y0", "degrees")
    return [dict(zip(names, (row[0] / 10, *row[1:]), strict=True)) for row in _HEAD]


def volume(n: int = 64) -> Float[Tensor, "n n n"]:
    """Ten ellipsoids on [-1, 1]^3, a head in three dimensions, axes (z, y, x), soft at the edges.

    The edges are one voxel wide. The central slice is the 2-D phantom; a slow shading in z makes the volume piecewise
    smooth.
    """
    _positive(n)
    x = (torch.arange(n, dtype=torch.float64) + 0.5) * (2 / n) - 1
    X, Y, Z = x, -x[:, None], x[:, None, None]
    u = torch.zeros(n, n, n, dtype=torch.float64)
    for (amplitude, *ellipse), (c, z0) in zip(_HEAD, _DEPTH, strict=True):
        a, b = ellipse[:2]
        (p, q), w = _own_axes(X, Y, *ellipse), (Z - z0) / c
        radius = (p**2 + q**2 + w**2).sqrt()
        slope = ((p / a) ** 2 + (q / b) ** 2 + (w / c) ** 2).sqrt() / radius.clamp_min(1e-9)
        u += amplitude * (0.5 + (1 - radius) / slope.clamp_min(1e-9) * n / 2).clamp(0, 1)  # signed distance in voxels
    return (u / 10).clamp(0, 1) * (0.8 + 0.2 * torch.cos(math.pi * Z / 2))


def average(u: Float[Tensor, "*batch H W"], n: int) -> Float[Tensor, "*batch n n"]:
    """The means over an n x n grid: of blocks where n divides the sides, of weighted overlaps elsewhere."""
    rows, columns = _overlap(u.shape[-2], n), _overlap(u.shape[-1], n)
    return rows @ u.to(torch.float64) @ columns.T


def _own_axes(X: Tensor, Y: Tensor, a: float, b: float, x0: float, y0: float, degrees: float) -> tuple[Tensor, Tensor]:
    """Coordinates in which an ellipse is the unit circle."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return ((X - x0) * c + (Y - y0) * s) / a, ((Y - y0) * c - (X - x0) * s) / b


def _photograph(name: str) -> Tensor:
    """A picture of scikit-image as (H, W) or (3, H, W), values 0 to 255, float64.

    Read from the package's folder: `skimage.data` gives the same pixels, and loads 25 MB of readers to do so.
    """
    import skimage
    from PIL import Image

    file = (
        Path(skimage.__file__).parent / "data" / {"cat": "chelsea.png", "rocket": "rocket.jpg"}.get(name, f"{name}.png")
    )
    with Image.open(file) as picture:
        u = torch.from_numpy(np.array(picture)).to(torch.float64)
    return u.movedim(-1, 0) if u.ndim == 3 else u


def _luminance(u: Tensor) -> Tensor:
    """(3, H, W) -> (H, W), the weights of ITU-R BT.709."""
    return torch.einsum("c,chw->hw", torch.tensor([0.2125, 0.7154, 0.0721], dtype=u.dtype), u)


def _overlap(size: int, n: int) -> Float[Tensor, "n size"]:
    """Row i: the shares of the pixels 0 .. size-1 in the mean over [i size/n, (i+1) size/n)."""
    edge = torch.arange(n + 1, dtype=torch.float64) * size / n
    pixel = torch.arange(size, dtype=torch.float64)
    share = torch.minimum(edge[1:, None], pixel + 1) - torch.maximum(edge[:-1, None], pixel)
    return share.clamp_min(0) * n / size


def _positive(n: int) -> None:
    if n < 1:
        raise ValueError(f"A signal has n >= 1 samples along each axis; got n = {n}.")


def _divisor(n: int, size: int = 512) -> int:
    if n < 1 or size % n:
        raise ValueError(
            f"Block means of a picture of {size} x {size} need an n that divides {size}; got n = {n}. "
            f"Use one of {', '.join(str(size >> i) for i in (4, 3, 2, 1, 0))}."
        )
    return n
