"""Pictures as arrays of bytes: tensor -> uint8 array -> PNG.

An explorer returns a uint8 array, since an array sent as PNG is on the page in a few milliseconds where redrawing a
figure takes a hundred: `pixels` makes one from a tensor, `beside` joins several. `encode` makes the small PNG that a
notebook stores, `encode_fast` the quick one that a slider waits for.

Notebook: all, through `show` and `live`.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
from torch import Tensor

BUDGET = 45_000  # bytes of a stored picture, kept where 48 colours suffice


def array(u: Any, name: str = "the image") -> np.ndarray:
    """An image as a float array (H, W) or (H, W, 3), from a tensor or array of that shape or (3, H, W).

    Values of uint8 are divided by 255.
    Raises ValueError for another shape, complex or NaN values.
    """
    a = u.detach().cpu().numpy() if isinstance(u, Tensor) else np.asarray(u)
    if a.ndim == 3 and a.shape[0] == 3:
        a = np.moveaxis(a, 0, -1)
    if (a.ndim != 2 and not (a.ndim == 3 and a.shape[2] == 3)) or a.size == 0:
        raise ValueError(
            f"{name} must be (H, W), or (3, H, W) in colour; got shape {tuple(np.shape(u))}. "
            "Take one image of a batch, or one band of a frame."
        )
    if np.iscomplexobj(a):
        raise ValueError(f"{name} has complex values, which no grey can show. Take its abs() or its real part.")
    if a.dtype == np.uint8:
        return a / 255
    a = a.astype(np.float64)
    if np.isnan(a).any():
        raise ValueError(
            f"{name} has NaN at {int(np.isnan(a).sum())} of {a.size} entries. Find where it arose, or use nan_to_num()."
        )
    return a


def pixels(u: Any, vmin: float | int = 0.0, vmax: float | int = 1.0, cmap: str = "gray") -> np.ndarray:
    """A tensor as uint8 on the scale [vmin, vmax]: (H, W) in grey, (H, W, 3) where u or another map has colours.

    >>> pixels(np.array([[0.0, 0.5, 2.0]]))
    array([[  0, 128, 255]], dtype=uint8)
    """
    if not vmin < vmax:
        raise ValueError(f"A scale of grey needs vmin < vmax; got vmin = {vmin}, vmax = {vmax}.")
    grey = np.clip((array(u) - vmin) * (255 / (vmax - vmin)) + 0.5, 0, 255).astype(np.uint8)
    if cmap == "gray" or grey.ndim == 3:
        return grey
    import matplotlib as mpl

    return (mpl.colormaps[cmap](np.arange(256))[:, :3] * 255 + 0.5).astype(np.uint8)[grey]


def beside(*images: np.ndarray, gap: int = 4) -> np.ndarray:
    """uint8 pictures of equal height side by side, `gap` white pixels between them; all in colour where one is."""
    images = tuple(checked(a) for a in images)
    if len({a.shape[0] for a in images}) != 1:
        raise ValueError(
            f"Pictures stand side by side if they are equally high; got heights {[a.shape[0] for a in images]}."
        )
    if any(a.ndim == 3 for a in images):
        images = tuple(a if a.ndim == 3 else np.repeat(a[..., None], 3, axis=2) for a in images)
    white = np.full((images[0].shape[0], gap, *images[0].shape[2:]), 255, dtype=np.uint8)
    return np.concatenate([part for a in images for part in (white, a)][1:], axis=1)


def checked(picture: Any) -> np.ndarray:
    """The picture itself if it is a uint8 array (H, W) or (H, W, 3), else ValueError in words."""
    a = picture if isinstance(picture, np.ndarray) else None
    if a is None or a.dtype != np.uint8 or a.size == 0 or not (a.ndim == 2 or (a.ndim == 3 and a.shape[2] == 3)):
        what = type(picture).__name__ if a is None else f"{a.dtype} of shape {a.shape}"
        raise ValueError(
            "A picture is a matplotlib figure or a uint8 array of shape (H, W) or (H, W, 3); "
            f"got {what}. Use pixels(u) to make one from a tensor."
        )
    return a


def enlarged(picture: np.ndarray, times: int) -> np.ndarray:
    """Each pixel drawn as a square of times x times pixels."""
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def zoom_of(picture: np.ndarray) -> int:
    """How often a picture is enlarged to be seen well: as far as it fits into 512 x 512 pixels."""
    return max(1, 512 // max(picture.shape[:2]))


def is_figure(picture: Any) -> bool:
    """True for a matplotlib figure, told without importing matplotlib."""
    figure = sys.modules.get("matplotlib.figure")
    return figure is not None and isinstance(picture, figure.Figure)


def rasterised(fig: Any, dpi: float | int) -> np.ndarray:
    """A figure as an (H, W, 3) uint8 array; the figure is closed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    fig.set_dpi(dpi)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    rgba = np.asarray(canvas.buffer_rgba())
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)
    return rgba[..., :3].copy()


def encode_fast(picture: np.ndarray) -> bytes:
    """PNG without loss, quickly: no row is filtered, which Pillow would try in five ways. 1 ms for 256 x 256."""
    h, w, *colour = picture.shape
    rows = np.zeros((h, 1 + picture[0].size), np.uint8)  # each begins with the number of its filter, 0: none
    rows[:, 1:] = picture.reshape(h, -1)
    head = struct.pack(">IIBBBBB", w, h, 8, 2 if colour else 0, 0, 0, 0)  # eight bits, of red, green, blue or of grey
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def encode(picture: np.ndarray) -> bytes:
    """PNG with a palette of 256 entries, of fewer (down to 32 greys and 48 colours) where it exceeds BUDGET bytes.

    The greys are equally spaced, so that a grey photograph stays grey beside coloured curves. The colours come of a
    median cut of those that occur, each counted once, so that the few saturated pixels of a wavelet band keep their
    colour. No dithering. The same picture gives the same bytes.

    What to expect in kB: curves 30 to 55; photographs of 256 x 256 about 50 for one, 60 for two, 85 for three of which
    one is noisy. Noise cannot be compressed: where three or four noisy pictures stand together, show 128 x 128.
    """
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    coloured = (rgb[..., 0] != rgb[..., 1]) | (rgb[..., 0] != rgb[..., 2])
    several = bool(coloured.any())
    packed = rgb[..., 0][coloured].astype(np.uint32)  # 0xRRGGBB, in place: a figure has millions of pixels
    for channel in (1, 2):
        packed <<= 8
        packed |= rgb[..., channel][coloured]
    different, count = np.unique(packed, return_counts=True)
    data = b""
    for greys, colours in (
        ((128, 128), (96, 96), (64, 64), (32, 48)) if several else ((256, 0), (96, 0), (64, 0), (32, 0))
    ):
        level = np.round(np.arange(256) * ((greys - 1) / 255)).astype(np.uint8)
        palette = np.round(np.arange(greys) * (255 / (greys - 1))).astype(np.uint8).repeat(3).tobytes()
        indices = level[rgb[..., 0]]
        if several:
            own, centres = _median_cut(different, count, colours)
            parts = np.array_split(packed, 1 + len(packed) // 65536)
            indices[coloured] = np.concatenate([own[np.searchsorted(different, part)] for part in parts]) + greys
            palette += centres.tobytes()
        data = _png(indices, palette, optimize=True)
        if len(data) <= BUDGET:
            break
    return data


def _median_cut(packed: np.ndarray, count: np.ndarray, entries: int) -> tuple[np.ndarray, np.ndarray]:
    """For colours 0xRRGGBB and how often each occurs: the index of each in a palette, and the palette (n, 3)."""
    from PIL import Image

    rows = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
    cut = Image.fromarray(rows[None]).quantize(entries, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    index = np.asarray(cut)[0]
    n = int(index.max()) + 1
    size = np.maximum(np.bincount(index, count, n), 1)
    centre = np.stack([np.bincount(index, count * rows[:, c], n) / size for c in range(3)], axis=1)
    length = (centre**2).sum(axis=1)
    blocks = np.split(rows, range(4096, len(rows), 4096))  # distances up to the colour's own square, block by block
    nearest = [(length - 2 * block.astype(np.float64) @ centre.T).argmin(axis=1).astype(np.uint8) for block in blocks]
    return np.concatenate(nearest), np.round(centre).astype(np.uint8)


def _png(picture: np.ndarray, palette: bytes | None = None, **options: Any) -> bytes:
    from PIL import Image

    image, stream = Image.fromarray(np.ascontiguousarray(picture)), io.BytesIO()
    if palette:
        image.putpalette(palette)
    image.save(stream, "PNG", **options)
    return stream.getvalue()
