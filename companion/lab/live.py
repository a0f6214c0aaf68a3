"""One line that makes an explorer live, and one that prints it as a film strip.

An *explorer* is a plain function `explorer(**parameters) -> (picture, facts)`: the picture a uint8 array (H, W) or
(H, W, 3), or a matplotlib figure (slower by a factor of thirty); the facts a dictionary {name: number or text}. The
first paragraph of its docstring says what the picture shows.

    live(shrink, lam=(0.0, 0.3), order=[1, 2, 3], redundant=True)     # sliders, where a kernel runs
    film(shrink, lam=[0.02, 0.05, 0.1, 0.2], order=2)                 # the same pictures on paper

Notebook: all, in the cells tagged `explorer`.
"""

from __future__ import annotations

import html
import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from companion.lab.raster import checked, encode_fast, is_figure, rasterised, zoom_of
from companion.lab.show import DPI, in_kernel, listed, number, pictures, show

Explorer = Callable[..., tuple[Any, Mapping[str, Any]]]
_SHARP = "<style>.companion-sharp img, img.companion-sharp {image-rendering: pixelated}</style>"


def live(explorer: Explorer, *, labels: Mapping[str, str] | None = None, **controls: Any) -> None:
    """Show an explorer with a slider, list or box for each of the named parameters; the others keep their defaults.

    (lo, hi) or (lo, hi, step)   a slider: of whole numbers if all are whole, else of real ones
    (lo, hi, "log")              a slider of real numbers in equal ratios
    [a, b, c]                    a list to choose from
    True or False                a box to tick
    labels                       {parameter: text beside its slider}; by default the parameter's name

    Each starts at the default of the explorer's signature (else at lo, at a, at the given truth value). An error or a
    warning inside the explorer is put into words under the picture, and the last good picture stays. Outside a notebook
    the facts at the defaults are printed.
    Raises ValueError for an unknown parameter or an impossible range, ImportError without ipywidgets.
    """
    box = panel(explorer, labels, controls)
    if in_kernel():
        from IPython.display import display

        display(box)
    else:
        print(box.text())


def panel(explorer: Explorer, labels: Mapping[str, str] | None, controls: Mapping[str, Any]) -> Any:
    """The widget that `live` displays: a box with `.controls` {parameter: widget}, `.image`, `.line` and `.text()`."""
    try:
        import ipywidgets as widgets
    except ImportError as error:
        raise ImportError(
            "Live explorers need ipywidgets: pip install ipywidgets. The film strip `film(...)` works without."
        ) from error

    defaults = _parameters(explorer, controls)
    handles = {}
    for name, spec in controls.items():
        handles[name] = _control(name, spec, defaults[name])
        handles[name].description = (labels or {}).get(name, name.replace("_", " "))
        handles[name].style = {"description_width": "9em"}
        handles[name].layout.width = "32em"
    image, line = widgets.Image(format="png"), widgets.HTML()
    image.layout.max_width, image.layout.height = "100%", "auto"
    image.add_class("companion-sharp")
    box = widgets.VBox([*handles.values(), image, line])
    box.controls, box.image, box.line = handles, image, line
    words = ""

    def say(text: str, wrong: bool = False) -> None:
        nonlocal words
        words = text
        mark = ' style="color: #B00000"' if wrong else ""
        line.value = f'{_SHARP}<div role="status"{mark}>{html.escape(text)}</div>'

    def update(_: Any = None) -> None:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                picture, facts = _answer(explorer, {name: handle.value for name, handle in handles.items()})
                pixels = rasterised(picture, DPI) if is_figure(picture) else checked(picture)
                width = pixels.shape[1] * (1 if is_figure(picture) else zoom_of(pixels))
                text = listed(facts)
        except Exception as error:
            say(f"✗ {type(error).__name__}: {error}", wrong=True)
            return
        if image.layout.width != f"{width}px":
            image.layout.width = f"{width}px"
        image.value = encode_fast(pixels)
        said = dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, (UserWarning, RuntimeWarning)))
        say("; ".join([text, *(f"warning: {s}" for s in said)]), wrong=bool(said))

    box.text = lambda: words
    update()
    for handle in handles.values():
        handle.observe(update, names="value")
    return box


def film(
    explorer: Explorer,
    *,
    alt: str = "",
    fact: str | None = None,
    columns: int | None = None,
    width: float = 9.0,
    **parameters: Any,
) -> None:
    """Show an explorer's pictures for a list of values of one parameter, each captioned, in one figure.

    parameters  exactly one is a list of values; the others are fixed; those not named keep their defaults
    alt         a sentence on what the pictures show; by default the first paragraph of the explorer's docstring
    fact        the name of the fact under each frame's title; by default the first one
    columns, width   frames in a row, and inches of the whole

    The sentence of the figure names, for every frame, the value and all facts.
    Raises ValueError for an unknown parameter or fact, or if not exactly one parameter is a list.
    """
    _parameters(explorer, parameters)
    lists = [name for name, value in parameters.items() if isinstance(value, list) and value]
    if len(lists) != 1:
        found = ", ".join(lists) or "none"
        raise ValueError(f"A film runs along one parameter: give exactly one of them as a list of values; got {found}.")
    along = lists[0]
    fixed = {name: value for name, value in parameters.items() if name != along}
    frames, sentences = {}, []
    for value in parameters[along]:
        picture, facts = _answer(explorer, {**fixed, along: value})
        if fact is not None and fact not in facts:
            raise ValueError(f"The explorer reports no fact '{fact}'; it reports {', '.join(facts) or 'none'}.")
        title = listed({along: value})
        shown = fact or next(iter(facts), None)
        caption = title + (f"\n{listed({shown: facts[shown]})}" if shown else "")
        while caption in frames:  # two values alike in four digits
            caption += " "
        frames[caption] = rasterised(picture, 2 * DPI) if is_figure(picture) else checked(picture)
        sentences.append(f"{title} gives {listed(facts)}" if facts else title)
    text = " ".join((alt or (inspect.getdoc(explorer) or "").split("\n\n")[0] or "An explorer").split())
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    held = f", {listed(fixed)}" if fixed else ""
    named = along.replace("_", " ")
    show(
        pictures(frames, columns, vmin=0.0, vmax=1.0, width=width),
        f"{text} Film strip of {len(frames)} frames along {named}{held}. " + ". ".join(sentences) + ".",
    )


def _answer(explorer: Explorer, values: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """explorer(**values), checked to be a picture and a dictionary of facts."""
    answer = explorer(**values)
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Mapping)):
        raise TypeError(f"An explorer returns (picture, facts), the facts a dictionary; got {type(answer).__name__}.")
    return answer


def _parameters(explorer: Explorer, given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of the explorer's parameters (`inspect.Parameter.empty` where none), the given names checked."""
    signature = inspect.signature(explorer).parameters
    called = getattr(explorer, "__name__", "The explorer")
    names = ", ".join(signature)
    for name in given:
        if name not in signature:
            raise ValueError(f"{called} has no parameter '{name}'; its parameters are {names}.")
    for name, parameter in signature.items():
        if parameter.default is parameter.empty and name not in given:
            raise ValueError(
                f"{called} needs a value for '{name}': its parameters are {names}, and this one has no default."
            )
    return {name: parameter.default for name, parameter in signature.items()}


def _control(name: str, spec: Any, default: Any) -> Any:
    """The widget for one parameter, at its default."""
    import ipywidgets as widgets

    absent = default is inspect.Parameter.empty
    if isinstance(spec, bool):
        return widgets.Checkbox(value=spec if absent else bool(default), indent=True)
    if isinstance(spec, list) and spec:
        if not absent and default not in spec:
            raise ValueError(
                f"The default {name} = {number(default)} is not in the list {spec}. Add it or change the default."
            )
        options = [(number(value), value) for value in spec]
        return widgets.Dropdown(options=options, value=spec[0] if absent else default)
    log = isinstance(spec, tuple) and len(spec) == 3 and spec[2] == "log"
    ends = spec[:2] if log else spec
    reals = isinstance(ends, tuple) and len(ends) in (2, 3) and all(_real(v) for v in ends)
    if not reals or not ends[0] < ends[1] or (log and ends[0] <= 0) or (len(ends) == 3 and ends[2] <= 0):
        raise ValueError(
            f"{name} = {spec!r} is no control. Use (lo, hi) or (lo, hi, step) with lo < hi and step > 0, "
            "(lo, hi, 'log') with 0 < lo < hi, a list of values, or True or False."
        )
    lo, hi = ends[:2]
    value = lo if absent else default
    if not _real(value) or not lo <= value <= hi:
        raise ValueError(
            f"The default {name} = {number(value)} lies outside the slider's range from {number(lo)} to {number(hi)}."
        )
    if all(isinstance(v, int) for v in (*ends, value)) and not log:
        return widgets.IntSlider(value, lo, hi, ends[2] if len(ends) == 3 else 1)
    slider, position = (widgets.FloatLogSlider, math.log10) if log else (widgets.FloatSlider, float)
    low, high = position(lo), position(hi)
    step = ends[2] if len(ends) == 3 else _step(low, high, position(value))
    return slider(value, min=low, max=high, step=step, readout_format=".3g")


def _step(lo: float, hi: float, value: float) -> float:
    """1, 2 or 5 times a power of ten, at least fifty steps from lo to hi; bent so that a step meets the value."""
    ten = 10.0 ** math.floor(math.log10((hi - lo) / 50))
    step = max(ten * m for m in (1, 2, 5) if ten * m <= (hi - lo) / 50)
    steps = round((value - lo) / step)
    return (value - lo) / steps if steps else step


def _real(value: Any) -> bool:
    return (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
