"""The lesson machinery: figures carry their sentence, explorers answer, claims fail loudly, checks never raise."""

import base64
import functools
import io
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import lab
from companion.lab.check import Verdict
from companion.lab.diagnose import described
from companion.lab.images import average
from companion.lab.live import panel
from companion.lab.raster import BUDGET, encode, encode_fast, rasterised
from companion.lab.show import CYCLE, DPI, number

ROOT = Path(__file__).parents[1]
SIGNALS = {
    "step_and_ramp": lab.step_and_ramp,
    "camera": lab.camera,
    "texture": lab.texture,
    "fur": lab.fur,
    "colour": lab.colour,
    "mr_slice": lab.mr_slice,
    "phantom": lab.phantom,
    "volume": lambda: lab.volume(32),
}


def opened(png: bytes):
    from PIL import Image

    return Image.open(io.BytesIO(png))


def noisy_photograph() -> Tensor:
    u = lab.camera()
    return u + 0.1 * torch.randn(u.shape, generator=torch.Generator().manual_seed(0), dtype=u.dtype)


# ---- the sentence ----


@pytest.mark.parametrize(
    "value, words",
    [
        (0.123456, "0.1235"),
        (12345.678, "12350"),
        (1.5e7, "1.5e7"),
        (1.2e-5, "1.2e-5"),
        (3e-16, "below 1e-12"),
        (-3e-16, "below 1e-12"),
        (0.0, "0"),
        (2.0, "2"),
        (7, "7"),
        (True, "yes"),
        (False, "no"),
        (torch.tensor(0.25), "0.25"),
        (np.float32(0.1), "0.1"),
        (torch.tensor(True), "yes"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        ((3, 0.5), "3, 0.5"),
        ("two\n words", "two words"),
    ],
)
def test_numbers_in_words(value, words):
    assert number(value) == words


def test_sentence_is_alt_then_facts():
    assert lab.sentence("A  picture\n of u", {}) == "A picture of u."
    assert lab.sentence("What is it?", {"kept_part": 0.5, "n": 3}) == "What is it? kept part = 0.5; n = 3"


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_a_sentence_is_refused(alt):
    with pytest.raises(ValueError, match="cannot see it learns nothing"):
        lab.show(lab.pixels(lab.phantom(32)), alt)


def test_outside_a_notebook_the_sentence_is_printed(capsys):
    lab.show(lab.pictures({"phantom": lab.phantom(32)}), alt="The phantom", error=1e-15)
    assert capsys.readouterr().out == "The phantom. error = below 1e-12\n"


@pytest.mark.parametrize("picture", [torch.zeros(4, 4), np.zeros((4, 4)), np.zeros((2, 4, 4), np.uint8), "u"])
def test_show_names_what_a_picture_is(picture):
    with pytest.raises(ValueError, match=r"uint8 array of shape \(H, W\).*pixels\(u\)"):
        lab.show(picture, alt="something")


# ---- figures and their PNG ----


def test_one_photograph_fits_the_budget_and_two_do():
    for images in ({"u": lab.camera()}, {"u": lab.camera(), "phantom": lab.phantom()}):
        assert 5_000 < len(encode(rasterised(lab.pictures(images), 2 * DPI))) <= BUDGET


def test_three_photographs_with_noise_stay_bounded():
    """Noise cannot be compressed: 85 kB is what 32 greys cost, and 128 x 128 pixels bring it under the budget."""
    images = {"u": lab.camera(), "f": noisy_photograph(), "phantom": lab.phantom()}
    assert len(encode(rasterised(lab.pictures(images, vmin=0, vmax=1), 2 * DPI))) < 95_000
    small = {name: average(u, 128) for name, u in images.items()}
    assert len(encode(rasterised(lab.pictures(small, vmin=0, vmax=1), 2 * DPI))) <= BUDGET


def test_png_is_deterministic():
    def drawn() -> bytes:
        figure, (left, right) = lab.plots(2)
        left.plot(lab.step_and_ramp().numpy(), label="u")
        left.legend()
        right.imshow(noisy_photograph().numpy())
        return encode(rasterised(figure, 2 * DPI))

    assert drawn() == drawn()


def test_reduced_palette_keeps_greys_grey_and_saturated_pixels_coloured():
    u = lab.camera()
    rgb = rasterised(
        lab.pictures({"u": u, "f": noisy_photograph(), "d": u - u.roll(1, -1)}, vmin=0, vmax=1, own=["d"]), 2 * DPI
    )
    data = encode(rgb)
    assert opened(data).mode == "P" and len(data) < 150_000
    back = np.asarray(opened(data).convert("RGB")).astype(int)
    grey = (rgb == rgb[..., :1]).all(axis=2)
    assert (back[grey] == back[grey][:, :1]).all()
    assert np.abs(back - rgb)[grey].max() <= 255 / 31 / 2 + 1
    strongest = np.ptp(rgb.astype(int), axis=2).argmax()
    assert np.abs(back - rgb).reshape(-1, 3)[strongest].max() < 40
    assert (back[(rgb == 255).all(axis=2)] == 255).all()


def test_small_greys_are_stored_without_loss():
    a = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (np.asarray(opened(encode(a)).convert("L")) == a).all()
    for picture in (a, np.stack([a, a.T, a], axis=2)):
        assert (np.asarray(opened(encode_fast(picture))) == picture).all()


def boxes(figure) -> list[tuple[float, float]]:
    w, h = figure.get_size_inches() * 2 * DPI
    return [(ax.get_position().width * w, ax.get_position().height * h) for ax in figure.axes]


def test_pictures_have_one_size_the_right_aspect_and_whole_pixels():
    figure = lab.pictures({f"picture {i}": torch.rand(128, 256) for i in range(3)})
    sizes = np.array(boxes(figure))
    assert np.allclose(sizes, sizes[0]) and np.allclose(sizes[:, 0] / sizes[:, 1], 2)
    assert np.allclose(sizes / [256, 128], np.round(sizes / [256, 128]))
    assert not any(ax.axison for ax in figure.axes)
    assert figure.get_size_inches()[0] <= 9


@pytest.mark.parametrize("count, columns", [(1, 1), (3, 3), (4, 4), (5, 3), (6, 3), (9, 3)])
def test_rows_are_as_equal_as_can_be(count, columns):
    figure = lab.pictures({str(i): torch.rand(8, 8) for i in range(count)})
    assert len({round(ax.get_position().x0, 6) for ax in figure.axes}) == columns


def test_scales_are_shared_own_or_given():
    u, v = torch.rand(8, 8), 3 * torch.rand(8, 8) - 1
    shared = [ax.images[0].get_clim() for ax in lab.pictures({"u": u, "v": v}).axes]
    assert shared[0] == shared[1] == pytest.approx((float(v.min()), float(max(u.max(), v.max()))))
    figure = lab.pictures({"u": u, "v": v}, own=["v"])
    (lo, hi), shown = figure.axes[1].images[0].get_clim(), figure.axes[1].get_title()
    assert -lo == hi == pytest.approx(float(v.abs().max())) and f"±{hi:.2g}" in shown
    assert figure.axes[0].images[0].get_clim() == pytest.approx((float(u.min()), float(u.max())))
    given = [ax.images[0].get_clim() for ax in lab.pictures({"u": u, "v": v}, vmin=0, vmax={"u": 2, "v": 5}).axes]
    assert given == [(0, 2), (0, 5)]


def test_colourbar_and_colour_pictures():
    figure = lab.pictures({"u": lab.phantom(64), "colour": lab.colour(64)}, colourbar=True)
    assert len(figure.axes) == 3
    assert figure.axes[1].images[0].get_array().shape == (64, 64, 3)


@pytest.mark.parametrize(
    "images, words",
    [
        ({}, "at least one image"),
        ({"d": torch.zeros(9, 8, 8)}, r"'d' must be \(H, W\).*one band of a frame"),
        ({"z": torch.zeros(8, 8, dtype=torch.complex64)}, "'z' has complex values"),
        ({"u": torch.full((8, 8), math.nan)}, "'u' has NaN at 64 of 64"),
    ],
)
def test_pictures_refuses_in_words(images, words):
    with pytest.raises(ValueError, match=words):
        lab.pictures(images)


def test_style_is_legible_and_leaves_no_open_figure():
    import matplotlib as mpl
    from matplotlib import pyplot

    lab.style()
    sizes = [v for k, v in mpl.rcParams.items() if k in ("font.size", "legend.fontsize", "xtick.labelsize")]
    assert min(sizes) >= 11 and mpl.rcParams["figure.figsize"][0] == 9
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(CYCLE)
    figure, _ = pyplot.subplots()
    lab.show(figure, alt="an empty plot")
    assert not pyplot.get_fignums()


def test_pixels_and_beside():
    u = lab.camera(64)
    assert lab.pixels(u).shape == (64, 64) and lab.pixels(lab.colour(64)).shape == (64, 64, 3)
    signed = lab.pixels(torch.tensor([[-1.0, 0.0, 1.0]]), -1, 1, "PuOr")
    assert signed.shape == (1, 3, 3) and np.ptp(signed[0, 1]) < 6 and np.ptp(signed[0, 0]) > 50
    both = lab.beside(lab.pixels(u), lab.pixels(lab.colour(64)), gap=5)
    assert both.shape == (64, 133, 3) and (both[:, 64:69] == 255).all()
    with pytest.raises(ValueError, match="equally high"):
        lab.beside(lab.pixels(u), lab.pixels(lab.camera(32)))
    with pytest.raises(ValueError, match="vmin < vmax"):
        lab.pixels(u, 1, 1)


# ---- signals ----


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_are_float64_in_the_unit_interval_and_fresh(name):
    u = SIGNALS[name]()
    assert u.dtype == torch.float64 and 0 <= float(u.min()) < float(u.max()) <= 1
    again = SIGNALS[name]()
    assert torch.equal(u, again) and u.data_ptr() != again.data_ptr()


def test_shapes():
    assert lab.step_and_ramp(100).shape == (100,)
    assert lab.camera(128).shape == lab.texture(128).shape == lab.phantom(128).shape == (128, 128)
    assert lab.phantom(101).shape == (101, 101)
    assert lab.colour(64).shape == (3, 64, 64) and lab.volume(20).shape == (20, 20, 20)


def test_camera_is_block_means():
    from skimage import data

    blocks = data.camera().astype(float).reshape(128, 4, 128, 4).mean((1, 3)) / 255
    assert torch.equal(lab.camera(128), torch.from_numpy(blocks))
    assert torch.equal(lab.photographs(128)["camera"], lab.camera(128))


def test_the_mr_slice_is_a_head_with_its_forehead_up_and_nothing_around_it():
    import nibabel

    u = lab.mr_slice()
    assert u.shape == (128, 128) and torch.equal(lab.mr_slice(32), average(u, 32))
    assert torch.count_nonzero(u[:16]) == torch.count_nonzero(u[-16:]) == 0  # padded
    assert 0.001 < float((u == 1).double().mean()) < 0.01  # clipped: half a per cent of 96 rows
    head = u > 0.3
    assert head.any(1).sum() > 1.2 * head.any(0).sum(), "longer from forehead to back than from ear to ear"
    file = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    volume = nibabel.as_closest_canonical(nibabel.load(file)).get_fdata()  # axes towards right, front, top
    seen = torch.from_numpy(volume[::-1, ::-1, 15, 0].T.copy())  # the patient's right is on the left
    torch.testing.assert_close(u[16:-16], (seen / seen.quantile(0.995)).clamp(0, 1))
    with pytest.raises(ValueError, match="divides 128; got n = 256"):
        lab.mr_slice(256)


def test_the_fur_is_a_part_of_the_cat_in_its_own_pixels():
    from skimage import data

    grey = torch.from_numpy(data.chelsea()[:128, 190:318] @ [0.2125, 0.7154, 0.0721])
    u = lab.fur()
    inside = (u > 0) & (u < 1)
    assert u.shape == (128, 128) and 0.98 < float(inside.double().mean()) < 1
    assert float(torch.corrcoef(torch.stack([u[inside], grey[inside]]))[0, 1]) > 1 - 1e-12
    with pytest.raises(ValueError, match="divides 128; got n = 256"):
        lab.fur(256)


def test_averages_keep_the_mean_and_constants():
    u = torch.rand(2, 30, 45, dtype=torch.float64)
    assert torch.allclose(average(u, 7).mean((-2, -1)), u.mean((-2, -1)), rtol=1e-13)
    assert torch.allclose(average(torch.ones(30, 45), 13), torch.ones(13, 13, dtype=torch.float64), rtol=1e-13)


@pytest.mark.parametrize("n", [0, 3, 300, 1024])
def test_a_size_that_does_not_divide_is_refused(n):
    with pytest.raises(ValueError, match=f"divides 512; got n = {n}"):
        lab.camera(n)
    with pytest.raises(ValueError, match="divides 512"):
        lab.texture(n)


def test_other_impossible_sizes():
    with pytest.raises(ValueError, match="1 <= n <= 300"):
        lab.photographs(301)
    for signal in (lab.phantom, lab.volume, lab.step_and_ramp):
        with pytest.raises(ValueError, match="n >= 1"):
            signal(0)


def test_photographs_are_six_pictures_of_one_shape():
    found = lab.photographs(64)
    assert len(found) == 6 and {u.shape for u in found.values()} == {(64, 64)}
    assert all(float(u.min()) >= 0 and float(u.max()) <= 1 and float(u.std()) > 0.05 for u in found.values())


def test_phantom_is_the_shepp_logan_head():
    from skimage import data

    reference = average(torch.from_numpy(data.shepp_logan_phantom()), 100)
    both = torch.stack([lab.phantom(100).flatten(), reference.flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.97
    values, counts = torch.unique(lab.phantom(256).mul(10).round(decimals=9), return_counts=True)
    assert {0.0, 1.0, 2.0, 3.0, 4.0, 10.0} <= set(values[counts > 9].tolist())
    assert float(counts[values == values.round()].sum()) > 0.9 * 256**2


def test_central_slice_of_the_volume_is_the_phantom():
    v = lab.volume(64)
    middle = (v[31] + v[32]) / 2
    both = torch.stack([middle.flatten(), lab.phantom(64).flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.97
    assert float(v[0].max()) == float(v[:, 0].max()) == float(v[:, :, 0].max()) == 0


def test_step_and_ramp_is_what_its_docstring_says():
    n = 256
    u = lab.step_and_ramp(n)
    jumps = (u[1:] - u[:-1]).abs()
    assert jumps.topk(2).indices.sort().values.tolist() == [n // 8 - 1, 5 * n // 16 - 1]
    assert float(jumps.topk(2).values.min()) == pytest.approx(0.6)
    x = (torch.arange(n) + 0.5) / n
    rise, fall = (x > 3 / 8) & (x < 9 / 16), (x > 9 / 16) & (x < 5 / 8)
    assert torch.allclose(u[rise].diff(n=2), torch.zeros(1, dtype=u.dtype), atol=1e-12)
    assert torch.allclose(u[fall].diff() * n, torch.tensor(-8.0, dtype=u.dtype))
    assert float(u.max()) == pytest.approx(0.9, abs=1e-3) and float(u[0]) == float(u[-1]) == 0.2


def test_credits_name_every_signal_with_a_licence():
    from companion.lab import photos, segment

    table = lab.credits()
    assert {row["signal"] for row in table} >= set(SIGNALS) | set(lab.photographs(32)) | set(segment.CREDITS)
    assert {row["signal"] for row in table} >= (set(photos.TRAINING) | set(photos.HELD_OUT)) - {"brick", "chelsea"}
    assert all(row["origin"] and row["licence"] and row["what"] for row in table)
    assert table._repr_markdown_().count("\n") == len(table) + 1
    assert "Lav Varshney" in repr(table) and "|" not in repr(table)


@pytest.mark.parametrize(
    "name, words",
    [
        ("camera", ["CC0", "Lav Varshney"]),
        ("astronaut", ["public domain", "NASA Great Images"]),
        ("coffee", ["CC0", "Rachel Michetti", "Pikolo Espresso Bar"]),
        ("cat", ["CC0", "Stefan van der Walt"]),
        ("rocket", ["public domain", "SpaceX Photos"]),
        ("coins", ["No known copyright restrictions", "Brooklyn Museum"]),
        ("brick", ["Creative Commons CC0", "CC0Textures"]),
    ],
)
def test_credits_agree_with_the_documentation_of_scikit_image(name, words):
    from skimage import data

    documented = " ".join((getattr(data, name).__doc__ or "").split())
    assert all(word in documented for word in words)


def test_nothing_is_downloaded(monkeypatch, tmp_path):
    """Every photograph is read out of an installed package: with no cache and no sockets."""
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "from companion import lab\n"
        "lab.photographs(32), lab.texture(32), lab.colour(32), lab.mr_slice(32)\n"
    )
    env = {
        "HOME": str(tmp_path),
        "PATH": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": ".",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=120)


def test_psnr_and_ssim_against_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    u, f = lab.camera(128), average(noisy_photograph(), 128)
    assert lab.psnr(f, u) == pytest.approx(peak_signal_noise_ratio(u.numpy(), f.numpy(), data_range=1), rel=1e-12)
    assert lab.psnr(u, u) == math.inf and lab.ssim(u, u) == pytest.approx(1)
    ours = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert lab.ssim(f, u) == pytest.approx(structural_similarity(f.numpy(), u.numpy(), data_range=1, **ours))
    assert lab.ssim(lab.colour(64), lab.colour(64)) == pytest.approx(1)
    with pytest.raises(ValueError, match="equal shapes"):
        lab.psnr(u, lab.camera(64))


# ---- the machine ----


def test_threads_follow_the_environment(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert lab.set_threads() == torch.get_num_threads() == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
        assert lab.set_threads() == 2
        for grant in ("0.5", "1", "1.9"):
            monkeypatch.setenv("OMP_NUM_THREADS", "")
            monkeypatch.setenv("CPU_LIMIT", grant)
            assert lab.set_threads() == 1
        for nonsense in ("", "many", "-3", "nan", "inf"):
            monkeypatch.setenv("CPU_LIMIT", nonsense)
            assert lab.set_threads() >= 1
    finally:
        torch.set_num_threads(before)


def test_facts_describe_the_machine():
    facts = lab.facts()
    assert {"device", "threads", "memory", "python", "torch", "numpy", "scikit-image"} <= set(facts)
    assert all(isinstance(v, str) and v for v in facts.values())
    assert facts["device"].startswith(lab.device().type) and "+" not in facts["torch"]


def test_importing_the_lab_is_cheap():
    code = (
        "import sys, companion.lab as lab\n"
        "heavy = {'matplotlib', 'ipywidgets', 'skimage', 'sklearn', 'scipy', 'sympy', 'pywt', 'PIL'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "lab.show(lab.pictures({'u': lab.phantom(16)}), alt='The phantom')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=ROOT)


# ---- explorers ----


def shrink(lam: float = 0.1, order: int = 1, redundant: bool = True, name: str = "camera"):
    """A photograph whose small values are set to zero.

    More words that a film strip does not repeat.
    """
    if lam > 0.45:
        raise ArithmeticError(f"lam = {lam:.2g} <b>is</b> too large")
    if lam > 0.4:
        warnings.warn("the bound is 0.4", UserWarning, stacklevel=2)
    u = lab.camera(64)
    return lab.pixels(u * (u > lam)), {"kept": float((u > lam).double().mean()), "order": order}


def test_live_starts_at_the_defaults_and_follows_its_controls():
    box = panel(shrink, {"lam": "threshold"}, {"lam": (0.0, 0.5), "order": (1, 4), "redundant": False})
    kinds = {name: type(widget).__name__ for name, widget in box.controls.items()}
    assert kinds == {"lam": "FloatSlider", "order": "IntSlider", "redundant": "Checkbox"}
    assert box.controls["lam"].value == 0.1 and box.controls["redundant"].value is True
    assert [widget.description for widget in box.controls.values()] == ["threshold", "order", "redundant"]
    first = box.image.value
    assert opened(first).size == (64, 64) and box.image.layout.width == "512px"
    assert box.text() in box.line.value.replace("&lt;", "<")
    box.controls["lam"].value = 0.3
    assert box.image.value != first and "order = 1" in box.text()
    box.controls["order"].value = 3
    assert "order = 3" in box.text()
    box.controls["lam"].value = 0.1
    assert box.image.value == first


def test_live_says_what_went_wrong_and_keeps_the_last_picture(capsys):
    box = panel(shrink, None, {"lam": (0.0, 0.5)})
    good = box.image.value
    box.controls["lam"].value = 0.5
    assert box.text() == "✗ ArithmeticError: lam = 0.5 <b>is</b> too large" and box.image.value == good
    assert "<b>" not in box.line.value and "&lt;b&gt;" in box.line.value
    box.controls["lam"].value = 0.42
    assert "warning: the bound is 0.4" in box.text() and box.image.value != good
    box.controls["lam"].value = 0.1
    assert box.image.value == good and "✗" not in box.text() and "warning" not in box.text()
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


@pytest.mark.parametrize("answer", [None, (1, 2, 3), (torch.zeros(3, 3), {}), (np.zeros((4, 4)), {}), ("u", {"a": 1})])
def test_live_explains_an_answer_that_is_no_picture(answer):
    assert "✗" in panel(lambda lam=0.5: answer, None, {"lam": (0.0, 1.0)}).text()


def test_live_takes_every_kind_of_control():
    def explorer(a=0.02, b="haar", c=2, d=0.5, e=1, f=4):
        return lab.pixels(torch.full((8, 8), float(a))), {"all": f"{a:.4g} {b} {c} {d} {e} {f}"}

    controls = {
        "a": (0.001, 1, "log"),
        "b": ["haar", "linear"],
        "c": (0, 10, 2),
        "d": (0, 1),
        "e": (0, 2, 0.5),
        "f": [2, 4],
    }
    box = panel(explorer, None, controls)
    kinds = [type(widget).__name__ for widget in box.controls.values()]
    assert kinds == ["FloatLogSlider", "Dropdown", "IntSlider", "FloatSlider", "FloatSlider", "Dropdown"]
    assert box.text() == "all = 0.02 haar 2 0.5 1.0 4"
    box.controls["b"].value = "linear"
    box.controls["a"].value = 1.0
    assert box.text().startswith("all = 1 linear")


@pytest.mark.parametrize(
    "ends, value",
    [((0.0, 4.0), 1.5), ((0.0, 0.5), 0.1), ((-1.0, 2.0), 0.123), ((1e-3, 10, "log"), 0.02)],
)
def test_sliders_can_stand_at_their_default(ends, value):
    """The page moves a slider to the nearest step: the default must be one, or readout and picture disagree."""
    slider = panel(lambda x=value: (lab.pixels(torch.rand(4, 4)), {}), None, {"x": ends}).controls["x"]
    place = math.log10(value) if "log" in ends else value
    steps = (place - slider.min) / slider.step
    assert abs(steps - round(steps)) < 1e-6 and 40 < (slider.max - slider.min) / slider.step < 140
    assert slider.value == pytest.approx(value)


def test_live_shows_figures_and_closes_them():
    from matplotlib import pyplot

    def explorer(n=3):
        figure, axes = pyplot.subplots()
        axes.plot(range(n))
        return figure, {"n": n}

    box = panel(explorer, None, {"n": (2, 9)})
    first = box.image.value
    box.controls["n"].value = 7
    assert opened(first).size[0] == 9 * DPI and box.image.value != first and not pyplot.get_fignums()


@pytest.mark.parametrize(
    "controls, words",
    [
        ({"mu": (0.0, 1.0)}, "shrink has no parameter 'mu'; its parameters are lam, order, redundant, name"),
        ({"lam": (0.5, 0.1)}, "lam = .* is no control"),
        ({"lam": (0, 1, "log")}, "0 < lo < hi"),
        ({"lam": 0.3}, "is no control"),
        ({"lam": "high"}, "is no control"),
        ({"lam": (0, 1, -0.1)}, "step > 0"),
        ({"name": []}, "is no control"),
        ({"lam": (0.2, 0.4)}, "lam = 0.1 lies outside the slider's range from 0.2 to 0.4"),
        ({"name": ["phantom"]}, r"name = camera is not in the list \['phantom'\]"),
    ],
)
def test_live_refuses_impossible_controls(controls, words):
    with pytest.raises(ValueError, match=words):
        lab.live(shrink, **controls)


def test_live_asks_for_a_parameter_without_default():
    def explorer(u, lam=0.1):
        return lab.pixels(u), {}

    with pytest.raises(ValueError, match="explorer needs a value for 'u'"):
        lab.live(explorer, lam=(0.0, 1.0))


def test_live_without_ipywidgets(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"pip install ipywidgets.*film"):
        lab.live(shrink, lam=(0.0, 0.4))


def test_live_answers_quickly():
    """The machinery around a 256 x 256 explorer takes a few milliseconds; the bound leaves room for a busy machine."""
    import time

    picture = lab.pixels(noisy_photograph())
    box = panel(lambda lam=0.5: (picture, {"lam": lam}), None, {"lam": (0.0, 1.0)})
    times = []
    for i in range(9):
        start = time.perf_counter()
        box.controls["lam"].value = i / 10 + 0.01
        times.append(time.perf_counter() - start)
    assert sorted(times)[4] < 0.033


def test_film_names_every_frame(capsys):
    lab.film(shrink, lam=[0.02, 0.05, 0.3], order=2)
    words = capsys.readouterr().out
    assert words.startswith(
        "A photograph whose small values are set to zero. "
        "Film strip of 3 frames along lam, order = 2. lam = 0.02 gives kept = "
    )
    assert all(f"lam = {lam} gives kept = " in words for lam in (0.02, 0.05, 0.3)) and words.count("order = 2") == 4


def test_film_draws_one_frame_per_value(monkeypatch):
    seen = {}
    spy = lambda figure, alt, **facts: seen.update(figure=figure, alt=alt)  # noqa: E731
    monkeypatch.setattr(sys.modules["companion.lab.live"], "show", spy)
    lab.film(shrink, alt="My words", fact="order", lam=[0.1, 0.2, 0.3, 0.4])
    titles = [ax.get_title() for ax in seen["figure"].axes]
    assert titles == [f"lam = {lam}\norder = 1" for lam in (0.1, 0.2, 0.3, 0.4)]
    assert seen["alt"].startswith("My words. Film strip of 4 frames along lam.")
    lab.film(shrink, lam=[0.1, 0.1, 0.10000001])
    assert len(seen["figure"].axes) == 3


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"lam": 0.1}, "exactly one of them as a list of values; got none"),
        ({"lam": [0.1, 0.2], "order": [1, 2]}, "got lam, order"),
        ({"lam": [0.1], "mu": 2}, "no parameter 'mu'"),
        ({"lam": [0.1], "fact": "PSNR"}, "no fact 'PSNR'; it reports kept, order"),
    ],
)
def test_film_refuses_in_words(parameters, words):
    with pytest.raises(ValueError, match=words):
        lab.film(shrink, **parameters)


# ---- claims ----


def test_claims_print_one_aligned_line(capsys):
    lab.claim("(2.3)", "W^T W u = u", torch.tensor(2.22e-16), 1e-12)
    lab.claim("Ex 2.1", "number of filters", 3, 3, relation="==")
    lab.claim("Thm 4.1", "order of convergence", 1.98765, between=(1.9, 2.1))
    lab.claim("", "gain", np.float64(12.3456), 10, relation=">=")
    lab.claim("", "the matrix is the identity", torch.tensor(True), True, relation="==")
    lines = capsys.readouterr().out.splitlines()
    assert "2.2e-16 <= 1e-12" in lines[0] and "3 == 3" in lines[1] and "1.99 in [1.9, 2.1]" in lines[2]
    assert "12.3 >= 10" in lines[3] and "yes == yes" in lines[4]
    assert all(line.endswith("✓") for line in lines) and len({line.index("✓") for line in lines[:2]}) == 1


@pytest.mark.parametrize(
    "measured, arguments",
    [
        (1e-3, {"bound": 1e-12}),
        (2, {"bound": 3, "relation": ">="}),
        (2, {"bound": 3, "relation": "=="}),
        (False, {"bound": True, "relation": "=="}),
        (2.2, {"between": (1.9, 2.1)}),
        (math.nan, {"bound": 1e-12}),
        (math.nan, {"bound": 0.0, "relation": ">="}),
        (math.nan, {"between": (-math.inf, math.inf)}),
        (torch.tensor(math.nan), {"bound": math.inf}),
        (0.5, {"bound": math.nan}),
    ],
)
def test_false_claims_fail_in_words(measured, arguments, capsys):
    with pytest.raises(AssertionError, match=r"claim not fulfilled: \(2.3\) W\^T W u = u: measured .*, claimed "):
        lab.claim("(2.3)", "W^T W u = u", measured, **arguments)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "measured, arguments, error, words",
    [
        (1.0, {}, ValueError, "exactly one"),
        (1.0, {"bound": 1, "between": (0, 1)}, ValueError, "exactly one"),
        (1.0, {"bound": 1.0, "relation": "=="}, ValueError, "tolerance"),
        (1.0, {"bound": 1.0, "relation": "<"}, ValueError, "one of <=, >=, =="),
        (torch.zeros(3), {"bound": 1.0}, TypeError, r"a tensor of shape \(3,\).*max\(\)"),
        (1j, {"bound": 1.0}, TypeError, "one real number"),
        ("0", {"bound": 1.0}, TypeError, "the text '0'"),
        (None, {"bound": 1.0}, TypeError, "got None"),
    ],
)
def test_a_claim_that_claims_nothing_is_refused(measured, arguments, error, words):
    with pytest.raises(error, match=words):
        lab.claim("(2.3)", "W^T W u = u", measured, **arguments)


# ---- exercises ----

U = torch.arange(8, dtype=torch.float64)


@lab.exercise(hints=["Which way?", "u[n+1] - u[n]"], praise="right: the forward difference", expects=Callable)
def difference(answer):
    """Write the forward difference, periodic."""
    return lab.same(answer(U), U.roll(-1) - U, 1e-12)


def said(check, answer=..., **options) -> list[str]:
    out = io.StringIO()
    stdout, sys.stdout = sys.stdout, out
    try:
        assert check(answer, **options) is None
    finally:
        sys.stdout = stdout
    return out.getvalue().splitlines()


def stub_in_the_middle(u):
    q = ...
    return q * u


def stub_in_a_tensor(u):
    return torch.tensor([..., 1.0])


UNTOUCHED = [
    ...,
    None,
    "...",
    [1, ...],
    {"q": (1, [...])},
    np.array([1, ...], dtype=object),
    lambda u: ...,
    lambda u: None,
    lambda u: (u, ...),
    functools.partial(lambda a, u: ..., 1),
    stub_in_the_middle,
    stub_in_a_tensor,
]


@pytest.mark.parametrize("answer", UNTOUCHED)
def test_an_untouched_stub_is_not_yet(answer):
    assert said(difference, answer) == ["○ not yet: replace the ... and run the cell again"]
    assert difference.verdict(answer).state == "not yet"


def test_a_stub_with_a_hint():
    assert said(difference, ..., hint=1)[1:] == [
        "  hint 1 of 2: Which way?",
        "  next hint available: run the cell with hint=2 (of 2)",
    ]


def test_a_right_answer_is_praised_without_hints():
    assert said(difference, lambda u: u.roll(-1) - u, hint=2) == ["✓ right: the forward difference"]


def test_a_wrong_answer_is_diagnosed_and_hints_are_counted():
    wrong = lambda u: u - u.roll(-1)  # noqa: E731
    diagnosis = "✗ your result is right but of the wrong sign"
    assert said(difference, wrong) == [diagnosis, "  hint available: run the cell with hint=1 (of 2)"]
    assert said(difference, wrong, hint=2) == [diagnosis, "  hint 1 of 2: Which way?", "  hint 2 of 2: u[n+1] - u[n]"]
    assert said(difference, wrong, hint=99) == said(difference, wrong, hint=2)
    assert said(difference, wrong, hint="x") == said(difference, wrong, hint=-1) == said(difference, wrong)


def raising(u):
    raise ValueError("no\n such filter")


@pytest.mark.parametrize(
    "answer, words",
    [
        (raising, "✗ your function raised ValueError: no such filter for an input of shape (8,)"),
        (lambda u: u @ torch.zeros(3), "✗ your function raised RuntimeError: "),
        (lambda: U, "✗ your function raised TypeError: "),
        (lambda u: u[:3], "✗ your result has shape (3,); it must have shape (8,)"),
        (lambda u: u.float(), "✗ your result is of type float32; it must be of type float64"),
        (lambda u: u * math.nan, "✗ your result has NaN or infinite entries"),
        (lambda u: "u", "✗ your result is the text 'u'; it must be a tensor of shape (8,)"),
        (lambda u: {"u": u}, "✗ your result is a dictionary of 1; it must be a tensor of shape (8,)"),
        (lambda u: print, "✗ your result is a function; it must be a tensor of shape (8,)"),
        (U, "✗ the answer is a function, and this is a tensor of shape (8,)"),
        (3, "✗ the answer is a function, and this is the number 3"),
        ("text", "✗ the answer is a function, and this is the text 'text'"),
    ],
)
def test_bad_answers_become_words(answer, words):
    assert said(difference, answer)[0].startswith(words)


def test_a_check_never_raises_whatever_the_diagnosis_does():
    @lab.exercise(title="Exercise 1")
    def fragile(answer):
        return f"it has {answer.shape[7]} columns"

    assert said(fragile) == ["○ Exercise 1, not yet: replace the ... and run the cell again"]
    assert said(fragile, 3)[0].startswith(
        "✗ Exercise 1: an answer like this one, the number 3, leads to AttributeError: 'int' object"
    )
    assert "IndexError" in said(fragile, U)[0] and len(said(fragile, U)) == 1

    @lab.exercise()
    def swallows(answer):
        try:
            return answer(U)
        except Exception:
            return "swallowed"

    assert swallows.verdict(lambda u: ...).state == "not yet"
    assert swallows.verdict(raising).words.startswith("your function raised ValueError")
    assert difference.verdict(lambda u: difference.verdict(raising) and u).state == "wrong"


def test_functions_inside_containers_are_watched():
    @lab.exercise()
    def pair(answer):
        W, WT = answer
        gap = lab.adjoint_gap(W, WT, U)
        return None if gap < 1e-12 else f"your filter is flipped: <Wu, d> - <u, W'd> = {gap:.2g}"

    W = lambda u: u.roll(-1) - u  # noqa: E731
    assert pair.verdict((W, lambda d: d.roll(1) - d)) == Verdict("right", "right")
    assert pair.verdict([W, W]).words.startswith("your filter is flipped")
    assert pair.verdict((W, lambda d: ...)).state == "not yet"
    assert "ValueError" in pair.verdict((W, lambda d: d[1:])).words


def test_an_exercise_keeps_name_and_words_and_a_quiet_repr():
    assert difference.__name__ == "difference" and "forward difference" in difference.__doc__
    assert repr(difference) == "Exercise: a check with 2 hints"


def test_learners_see_the_signature_they_wrote():
    @lab.exercise()
    def arity(answer):
        import inspect

        return f"{list(inspect.signature(answer).parameters)} {answer.__name__}"

    assert arity.verdict(raising).words == "['u'] raising"


A = torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    "answer, right, words",
    [
        (A, A, None),
        (A * (1 + 1e-9), A, None),
        (A.numpy(), A, None),
        (3, torch.tensor(3.0), None),
        ([1.0, 2.0], torch.tensor([1.0, 2.0]), None),
        (torch.zeros(3), torch.zeros(3), None),
        (torch.ones(3), torch.zeros(3), "differs from the right one by 1.7"),
        (-A, A, "of the wrong sign"),
        (2 * A, A, "is 2 times what it must be"),
        (A.flip(-1), A, "reversed along its last axis"),
        (A.flip(-1, -2), A, "reversed along its last two axes"),
        (A.T, A, "transposed"),
        (A.roll(1, -1), A, r"shifted by \+1 along axis -1"),
        (A.roll(-1, 0), A, "shifted by -1 along axis -2"),
        (A + 0.1, A, "differs from the right one by 0.2 of its norm"),
        (A[:4], A, r"has shape \(4, 5\); it must have shape \(5, 5\)"),
        (A > 0.5, A, "is of type bool; it must be of type float64"),
        (A * 1j, A, "is of type complex128"),
        (None, A, "is None; it must be a tensor"),
        (2.0, torch.tensor(3.0), "differs from the right one by 0.33 of its size"),
        ([1, 2], torch.tensor(3.0), r"is a tensor of shape \(2,\); it must be a number"),
        ("x", torch.tensor(3.0), "is the text 'x'; it must be a number"),
        (np.array(["a"]), A, r"is a NumPy array of shape \(1,\)"),
    ],
)
def test_same_recognises_the_usual_slips(answer, right, words):
    import re

    found = lab.same(answer, right, 1e-8)
    assert found is None if words is None else found and re.search(words, found), found


def test_adjoint_gap_of_complex_maps():
    u = torch.zeros(6, dtype=torch.complex128)
    assert lab.adjoint_gap(lambda v: 1j * v, lambda d: -1j * d, u) < 1e-14
    assert lab.adjoint_gap(lambda v: 1j * v, lambda d: 1j * d, u) > 0.01


@pytest.mark.parametrize(
    "value, words",
    [
        (torch.zeros(2, 3), "a tensor of shape (2, 3)"),
        (np.zeros(4), "a NumPy array of shape (4,)"),
        (2.5, "the number 2.5"),
        (True, "True"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "a dictionary of 1"),
        (len, "a function"),
        (torch.nn.Identity(), "an Identity"),
        (torch.nn.Identity, "the class Identity"),
        ("x" * 60, "the text '" + "x" * 37 + "...'"),
    ],
)
def test_values_described(value, words):
    assert described(value) == words


# ---- all of it in a kernel ----

CELLS = [
    "import torch\nfrom companion.lab import *\nu = phantom(32)",
    "show(pictures({'u': u}), alt='The *phantom* of $5_a', kept_part=0.25)",
    "show(pixels(u), alt='Its pixels')",
    "def explorer(lam=0.5):\n    'The phantom, brighter.'\n"
    "    return pixels(u * lam), {'mean': float(u.mean()) * lam}\n"
    "live(explorer, lam=(0.0, 1.0))",
    "film(explorer, lam=[0.25, 0.5])",
    "@exercise(hints=['think'])\ndef check(answer):\n    return same(answer(u), 2 * u)\ncheck(...)",
    "check(lambda u: 1 / 0)",
    "claim('(2.3)', 'a claim', 1e-16, 1e-12)",
    "credits()",
]


def test_everything_in_a_kernel(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3", store_widget_state=True).execute()
    outputs = [cell.outputs for cell in book.cells]
    assert outputs[0] == []

    picture, caption = outputs[1]
    words = "The *phantom* of $5_a. kept part = 0.25"
    assert picture["data"]["text/plain"] == caption["data"]["text/plain"] == words
    assert caption["data"]["text/markdown"] == "*The \\*phantom\\* of \\$5\\_a. kept part = 0.25*"
    marks = picture["metadata"]["image/png"]
    png = opened(base64.b64decode(picture["data"]["image/png"]))
    assert marks == {"alt": words, "width": png.size[0] // 2} and png.size[0] <= 9 * 2 * DPI
    assert outputs[2][0]["metadata"]["image/png"]["width"] == 512

    (widget,) = outputs[3]
    assert "application/vnd.jupyter.widget-view+json" in widget["data"] and widget["output_type"] == "display_data"
    assert "lam = 0.5 gives mean = " in outputs[4][0]["data"]["text/plain"]
    assert [o["text"] for o in outputs[5]] == ["○ not yet: replace the ... and run the cell again\n"]
    assert outputs[6][0]["text"].startswith("✗ your function raised ZeroDivisionError: division by zero for an input")
    assert outputs[7][0]["text"].endswith("✓\n") and len(outputs[7]) == 1
    assert "text/markdown" in outputs[8][0]["data"]
    assert all(o["output_type"] != "execute_result" for cell in outputs[:8] for o in cell)
    json.dumps(book)


def test_the_best_weight_is_found_to_its_factor_and_none_is_tried_twice() -> None:
    from companion.lab import best_weight

    tried: list[float] = []

    def score(w: float) -> float:
        tried.append(w)
        return -abs(math.log(w / 0.037))

    for factor in (1.4, 1.05, 1.001):
        tried.clear()
        weight, value = best_weight(score, 1e-3, 1.0, factor)
        assert abs(math.log(weight / 0.037)) <= math.log(factor) and value == -abs(math.log(weight / 0.037))
        assert len(tried) == len(set(tried))
    assert best_weight(lambda w: w, 0.1, 1.0, 1.01)[0] > 0.98


def test_what_is_stored_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from companion.lab import store, stored

    (tmp_path / "experiments").mkdir()
    store(str(tmp_path / "experiments" / "trial.py"), {"row": {"a": 1}}, tolerance=0.5)
    monkeypatch.chdir(tmp_path)
    found = stored("trial")
    assert found["row"] == {"a": 1} and found["about"]["tolerance"] == 0.5 and found["about"]["threads"] == 1
