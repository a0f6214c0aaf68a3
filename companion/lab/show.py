"""A figure is a picture and a sentence: `show(fig, alt, **facts)` displays both.

Who sees reads the picture and its caption; who listens, or reads a page without pictures, gets the same sentence with
the same computed facts; and a test that compares stored outputs compares the sentence, since it cannot compare
pictures.

`plots` makes a figure for curves and `pictures` one for images, both in the course's style and without pyplot; a
figure made by pyplot after `style()` will do as well.

Notebook: all.
"""

from __future__ import annotations

import base64
import math
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from companion.lab.machine import trim
from companion.lab.raster import array, checked, encode, enlarged, is_figure, rasterised, zoom_of

if TYPE_CHECKING:
    import matplotlib.figure

Number = float | int
DPI = 90  # logical pixels per inch; the stored picture has twice as many
SIGNED = "PuOr"  # for coefficients: orange negative, white zero, purple positive; safe for colour-blind readers
CYCLE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # Okabe and Ito, without the yellow
_RULES = {
    "figure.figsize": (9.0, 3.4),
    "figure.dpi": DPI,
    "figure.constrained_layout.use": True,
    "font.size": 12,
    "axes.titlesize": 13,
    "legend.fontsize": 11,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.8,
    "image.interpolation": "nearest",
    "image.cmap": "gray",
}


def style() -> None:
    """Set the course's look: 9 inches wide, type of 11 points or more, colours safe for colour-blind readers."""
    import matplotlib as mpl
    from cycler import cycler

    rules: Any = _RULES | {"axes.prop_cycle": cycler(color=CYCLE)}
    mpl.rcParams.update(rules)


def plots(
    columns: int = 1, rows: int = 1, height: Number = 3.4, **options: Any
) -> tuple[matplotlib.figure.Figure, Any]:
    """(figure, axes) for curves: rows x columns plots, 9 inches wide, rows of `height`; options as of `subplots`."""
    from matplotlib.figure import Figure

    style()
    fig = Figure(figsize=(9.0, rows * height))
    return fig, fig.subplots(rows, columns, **options)


def pictures(
    images: Mapping[str, Any],
    columns: int | None = None,
    *,
    vmin: Number | Mapping[str, Number] | None = None,
    vmax: Number | Mapping[str, Number] | None = None,
    cmap: str = "gray",
    own: bool | Iterable[str] = False,
    colourbar: bool = False,
    width: Number = 9.0,
) -> matplotlib.figure.Figure:
    """A grid of images {title: image}, all panels of one size, one scale of grey for all.

    images      tensors or arrays: (H, W), colour (3, H, W) or (H, W, 3) with values in [0, 1]; uint8 counts as 0 .. 255
    vmin, vmax  the ends of the scale, for all or {title: end}; by default the least and greatest value of them all
    own         True, or the titles of signed images: each gets orange, white and purple on a scale of its own,
                symmetric about 0, whose end stands in its title
    columns     images in a row; by default at most four, fewer for wide ones
    colourbar   the common scale, drawn at the right

    One pixel of an image becomes a whole number of pixels on the page wherever that costs little size.
    Raises ValueError for an empty dictionary, a wrong shape, complex or NaN values.
    """
    from matplotlib.figure import Figure

    if not images:
        raise ValueError("pictures needs at least one image: {title: image}; got an empty dictionary.")
    style()
    arrays = {title: array(image, f"'{title}'") for title, image in images.items()}
    signed = set(arrays if own is True else own or ())
    common = [a for t, a in arrays.items() if t not in signed and a.ndim == 2]
    ends = (min((a.min() for a in common), default=0.0), max((a.max() for a in common), default=1.0))
    H, W = (max(a.shape[i] for a in arrays.values()) for i in (0, 1))
    columns = min(columns or _columns(len(arrays), W / H), len(arrays))
    rows = -(-len(arrays) // columns)

    gap, bar = 16, 130 if colourbar else 0
    scale = min((round(width * 2 * DPI) - bar - gap * columns) / columns / W, 4.4 * 2 * DPI / H)
    scale = math.floor(scale) if math.floor(scale) >= 0.9 * scale else scale
    w, h = round(scale * W), round(scale * H)
    titles = {t: f"{t} (±{_reach(a):.2g})" if t in signed else t for t, a in arrays.items()}
    letters = w / 2 / DPI / 0.0077  # of one point that fit above a panel
    size = min(13.0, max(11.0, letters / max(len(line) for t in titles.values() for line in t.split("\n"))))
    room = max(8, int(letters / size))
    titles = {t: "\n".join(textwrap.fill(line, room) for line in text.split("\n")) for t, text in titles.items()}
    head = 14 + 36 * max(text.count("\n") + 1 for text in titles.values())
    total = columns * (w + gap) + bar, rows * (h + head) + gap // 2
    fig = Figure(figsize=(total[0] / 2 / DPI, total[1] / 2 / DPI))
    fig.set_layout_engine("none")
    scaled = None
    for i, (title, a) in enumerate(arrays.items()):
        x, y = gap // 2 + i % columns * (w + gap), total[1] - (i // columns + 1) * (h + head)
        ax = fig.add_axes((x / total[0], y / total[1], w / total[0], h / total[1]))
        if title in signed:
            limits: dict[str, Any] = {"vmin": -_reach(a), "vmax": _reach(a), "cmap": SIGNED}
        else:
            limits = {"vmin": _end(vmin, title, ends[0]), "vmax": _end(vmax, title, ends[1]), "cmap": cmap}
        shown = ax.imshow(a, interpolation="nearest" if scale >= 1 else "auto", **limits)
        scaled = scaled or (None if title in signed or a.ndim == 3 else shown)
        ax.set_title(titles[title], pad=4, fontsize=size)
        ax.set_axis_off()
    if colourbar and scaled:
        x, y = total[0] - bar + 10, total[1] - h - head
        fig.colorbar(scaled, cax=fig.add_axes((x / total[0], y / total[1], 26 / total[0], h / total[1])))
    return fig


def number(value: Any, digits: int = 4) -> str:
    """A value in words: so many significant digits, rounding errors as "below 1e-12", truth values as yes and no."""
    value = value.item() if isinstance(value, (Tensor, np.ndarray, np.generic)) and np.ndim(value) == 0 else value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(number(v, digits) for v in value)
    if not isinstance(value, float) or not math.isfinite(value):
        return " ".join(str(value).split())
    if 0 < abs(value) < 1e-12:
        return "below 1e-12"
    text = f"{value:.{digits}g}"
    if "e+" in text and abs(value) < 1e6:
        return f"{float(text):.0f}"
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].strip("+"), text)


def listed(facts: Mapping[str, Any]) -> str:
    """`name = value; name = value`, an underscore in a name read as a space."""
    return "; ".join(f"{name.replace('_', ' ')} = {number(value)}" for name, value in facts.items())


def sentence(alt: str, facts: Mapping[str, Any]) -> str:
    """What a reader who cannot see the picture gets: the sentence `alt`, then the facts.

    >>> sentence("Soft thresholding of the photograph", {"kept": 0.123456, "error": 3e-16})
    'Soft thresholding of the photograph. kept = 0.1235; error = below 1e-12'

    Raises ValueError for an empty alt.
    """
    alt = " ".join(alt.split())
    if not alt:
        raise ValueError(
            "A figure needs a sentence: without alt=... a reader who cannot see it learns nothing. Say what it shows."
        )
    alt += "" if alt[-1] in ".!?:" else "."
    return f"{alt} {listed(facts)}" if facts else alt


def show(fig: Any, alt: str, *, zoom: int | None = None, **facts: Any) -> None:
    """Display a picture, in one bundle with the sentence `alt` and the computed facts; then the sentence as a caption.

    fig   a matplotlib figure, which is closed, or a uint8 array (H, W) or (H, W, 3), each pixel drawn `zoom` x `zoom`
          (by default as far as it fits into 512 x 512)

    Outside a notebook the sentence is printed.
    Raises ValueError for an empty alt or an array of another shape or type.
    """
    text = sentence(alt, facts)
    trim()
    if is_figure(fig):
        picture = rasterised(fig, 2 * DPI)
        width = picture.shape[1] // 2
    else:
        picture = checked(fig)
        picture = enlarged(picture, zoom or zoom_of(picture))
        width = picture.shape[1]
    if not in_kernel():
        print(text)
        return
    from IPython.display import display

    marks = {"image/png": {"alt": text, "width": width}}
    image = base64.b64encode(encode(picture)).decode()
    display({"image/png": image, "text/plain": text}, raw=True, metadata=marks)
    del picture
    trim()
    caption = re.sub(r"([\\`*_{}\[\]<>#|$~&])", r"\\\1", text)
    display({"text/markdown": f"*{caption}*", "text/plain": text}, raw=True)


def in_kernel() -> bool:
    """True in a notebook, where pictures can be shown."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


def _columns(count: int, aspect: float) -> int:
    """How many images of this width/height stand in a row: rows as equal as can be."""
    most = 4 if aspect < 1.5 else 2 if aspect < 4 else 1
    return -(-count // -(-count // most))


def _end(limit: Number | Mapping[str, Number] | None, title: str, otherwise: Number) -> float:
    limit = limit.get(title) if isinstance(limit, Mapping) else limit
    return float(otherwise if limit is None else limit)


def _reach(a: np.ndarray) -> float:
    return float(np.abs(a).max()) or 1.0
