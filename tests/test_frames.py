"""The framelet transform: W^T W = I, the cascade (2.2), shifts, boundaries, and the keeping of its bands."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    Band,
    Filter,
    FrameletTransform,
    biorthogonal,
    bspline,
    correlate,
    correlate_adjoint,
    tensor_product,
)
from tests.laws.registry import centred_dual_pair, simplex_bank

SHAPES = {1: (40,), 2: (17, 18), 3: (9, 10, 9)}
TIGHT = [  # order, levels, dim, boundary
    *((order, levels, 1, "periodic") for order in (1, 2, 3, 4) for levels in (1, 2, 3, 4)),
    *((order, levels, 2, "periodic") for order in (1, 2) for levels in (1, 2, 3, 4)),
    *((order, 2, 2, "periodic") for order in (3, 4, 5)),
    *((1, levels, 3, "periodic") for levels in (1, 2, 3, 4)),
    *((2, levels, 3, "periodic") for levels in (1, 2)),
    *((order, levels, 1, "reflect") for order in (2, 4) for levels in (1, 2, 3, 4)),
    *((2, levels, 2, "reflect") for levels in (1, 2, 3, 4)),
    (4, 3, 2, "reflect"),
    (6, 1, 2, "reflect"),
    *((2, levels, 3, "reflect") for levels in (1, 2)),
]
DUAL = [((1, 3), 2, 1), ((1, 5), 1, 2), ((2, 2), 3, 2), ((2, 4), 1, 2), ((3, 1), 2, 2), ((3, 3), 1, 1), ((2, 2), 1, 3)]


def picture(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def direct(u: Tensor, q: Filter) -> Tensor:
    """q[-.] (*) u by its definition: sum_k q[k] u[n + k], each term a cyclic shift of the picture."""
    out = np.zeros(u.shape)
    for k, tap in q.indices():
        out += tap * np.roll(u.numpy(), [-i for i in k], axis=tuple(range(-q.ndim, 0)))
    return torch.from_numpy(out)


# ---- perfect reconstruction -------------------------------------------------------------------------------------


@pytest.mark.paper("(2.3)")
@pytest.mark.parametrize(("order", "levels", "dim", "boundary"), TIGHT)
def test_tight_frames_reconstruct_and_keep_the_energy(order: int, levels: int, dim: int, boundary: str) -> None:
    W = FrameletTransform(bspline(order), levels, dim, boundary)
    u = picture(2, *SHAPES[dim])
    d = W(u)
    assert d.shape == (2, levels * ((order + 1) ** dim - 1) + 1, *SHAPES[dim])
    torch.testing.assert_close(W.T(d), u, rtol=0, atol=1e-13)
    torch.testing.assert_close(d.square().sum(), u.square().sum(), rtol=1e-13, atol=0)
    assert W.tight
    assert W.dual is W


@pytest.mark.paper("(2.1)", "(2.3)")
@pytest.mark.parametrize(("orders", "levels", "dim"), DUAL)
def test_dual_frames_reconstruct_from_either_side(orders: tuple[int, int], levels: int, dim: int) -> None:
    bank, dual = biorthogonal(*orders)
    W = FrameletTransform(bank, levels, dim, dual=dual)
    u = picture(2, *(max(n, 12) for n in SHAPES[dim]))
    torch.testing.assert_close(W.dual.T(W(u)), u, rtol=0, atol=1e-12)
    torch.testing.assert_close(W.T(W.dual(u)), u, rtol=0, atol=1e-12)
    assert (W.T(W(u)) - u).abs().max() > 0.1
    assert not W.tight
    assert (W.dual.bank, W.dual.dual_bank) == (dual, bank)


def test_a_centred_dual_pair_reconstructs_under_reflection() -> None:
    bank, dual = centred_dual_pair()
    u = picture(13, 14)
    W = FrameletTransform(bank, 2, 2, "reflect", dual=dual)
    torch.testing.assert_close(W.dual.T(W(u)), u, rtol=0, atol=1e-13)


def test_the_projection_onto_the_range() -> None:
    """W W^T is an orthogonal projection, not the identity: the transform is redundant."""
    W = FrameletTransform(bspline(2), 2)
    d = picture(17, 9, 10)
    projected = W(W.T(d))
    torch.testing.assert_close(W(W.T(projected)), projected, rtol=0, atol=1e-13)
    torch.testing.assert_close((d * projected).sum(), projected.square().sum(), rtol=1e-12, atol=0)
    assert (projected - d).norm() > 0.5 * d.norm()


# ---- (2.2) ------------------------------------------------------------------------------------------------------


@pytest.mark.paper("(2.1)", "(2.2)")
@pytest.mark.parametrize(
    ("bank", "levels", "dim", "shape"),
    [
        (bspline(1), 4, 1, (20,)),
        (bspline(2), 3, 1, (19,)),
        (bspline(3), 2, 1, (9,)),
        (bspline(1), 3, 2, (9, 8)),
        (bspline(2), 2, 2, (7, 8)),
        (bspline(1), 2, 3, (5, 4, 6)),
        (simplex_bank(2), 3, 2, (8, 7)),
    ],
    ids=["haar", "linear", "quadratic", "haar-2d", "linear-2d", "haar-3d", "nonseparable"],
)
def test_the_cascade_is_correlation_with_the_filters_of_22(bank, levels: int, dim: int, shape) -> None:
    W = FrameletTransform(bank, levels, dim)
    u = picture(*shape)
    for d, band in zip(W(u), W.bands, strict=True):
        torch.testing.assert_close(d, direct(u, W.filter(*band)), rtol=0, atol=1e-14)


@pytest.mark.paper("(2.2)")
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_filters_of_22_are_products_of_dilated_filters(levels: int) -> None:
    """E1 corrected: q_{ell,l} = q-check_{ell,l} (*) q-check_{0,l-1} (*) ... (*) q-check_{0,0}, written out."""
    bank = bspline(2)
    W = FrameletTransform(bank, levels, 1)
    for (ell, *_), level in W.bands:
        q = bank[ell].dilate(2**level)
        for below in range(level):
            q = q.convolve(bank[0].dilate(2**below))
        found = W.filter((ell,), level)
        assert found.origin == q.origin
        np.testing.assert_allclose(found.taps, q.taps, atol=1e-16)


@pytest.mark.paper("(2.2)")
def test_the_printed_index_order_is_another_transform() -> None:
    """E1: q-check_{ell,l} (*) q-check_{l-1,0} (*) ... (*) q-check_{0,0}, with band l-1 at level 0. Up to l = 1 it says
    the same; at l = 2 it takes q_1 for p, and at l = 3 it asks Haar for a band that does not exist.
    """
    bank, u = bspline(1), picture(16)
    W = FrameletTransform(bank, 3, 1)

    def printed(ell: int, level: int) -> Filter:
        q = bank[ell].dilate(2**level)
        for below in reversed(range(level)):
            q = q.convolve(bank[below])
        return q

    for level in (0, 1):
        torch.testing.assert_close(W(u)[W.band((1,), level)], direct(u, printed(1, level)), rtol=0, atol=1e-15)
    assert (W(u)[W.band((1,), 2)] - direct(u, printed(1, 2))).abs().max() > 0.3
    with pytest.raises(IndexError):
        printed(1, 3)


def test_the_haar_average_is_a_mean_over_a_cell() -> None:
    W = FrameletTransform(bspline(1), 3, 1)
    u = picture(20)
    means = torch.stack([torch.stack([u[(n + k) % 20] for k in range(8)]).mean() for n in range(20)])
    torch.testing.assert_close(W(u)[0], means, rtol=0, atol=1e-15)


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
def test_levels_nest(boundary: str) -> None:
    """More levels split the average further and leave the finer bands as they were."""
    u = picture(18, 17)
    deep = FrameletTransform(bspline(2), 3, 2, boundary)(u)
    flat = FrameletTransform(bspline(2), 2, 2, boundary)(u)
    assert torch.equal(deep[1:17], flat[1:])
    assert not torch.equal(deep[0], flat[0])


# ---- shifts -----------------------------------------------------------------------------------------------------


@pytest.mark.paper("(2.1)")
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_transform_commutes_with_shifts(dim: int) -> None:
    W = FrameletTransform(bspline(1 if dim == 3 else 2), 2, dim)
    u = picture(*SHAPES[dim])
    axes = tuple(range(-dim, 0))
    for k in product((0, 1, 3), repeat=dim):
        torch.testing.assert_close(W(torch.roll(u, k, axes)), torch.roll(W(u), k, axes), rtol=0, atol=1e-15)


def test_the_transform_commutes_with_the_exchange_of_axes() -> None:
    """Transposing the picture exchanges the filters along the axes: x_1 is axis -2."""
    W = FrameletTransform(bspline(2), 2)
    u = picture(9, 11)
    d, turned = W(u), W(u.mT.contiguous())
    for (i, j), level in W.bands:
        torch.testing.assert_close(turned[W.band((j, i), level)], d[W.band((i, j), level)].mT, rtol=0, atol=1e-15)


# ---- boundaries -------------------------------------------------------------------------------------------------


@pytest.mark.paper("(2.1)")
@pytest.mark.parametrize(("order", "levels", "dim"), [(2, 1, 1), (2, 4, 1), (4, 2, 1), (2, 3, 2), (4, 1, 2), (2, 2, 3)])
def test_reflection_is_the_periodic_transform_of_the_mirrored_picture(order: int, levels: int, dim: int) -> None:
    """The picture and its mirror image make a picture of 2N samples a side that fits together: u_0 ... u_{N-1} u_{N-1}
    ... u_0.
    """
    shape = SHAPES[dim] if dim < 3 else (5, 6, 5)
    u = picture(*shape)
    mirrored = u
    for axis in range(dim):
        mirrored = torch.cat([mirrored, mirrored.flip(axis)], axis)
    periodic = FrameletTransform(bspline(order), levels, dim)(mirrored)
    reflect = FrameletTransform(bspline(order), levels, dim, "reflect")(u)
    corner = periodic[(slice(None), *(slice(n) for n in shape))]
    torch.testing.assert_close(reflect, corner, rtol=0, atol=1e-14)


@pytest.mark.parametrize("order", [1, 3, 5])
def test_the_refused_reflections_would_break_tightness(order: int) -> None:
    """sum_l W_l^T W_l for an even number of taps is not I at the border: what the constructor protects from."""
    u = picture(16)
    total = torch.zeros_like(u)
    for q in bspline(order):
        taps = torch.tensor(q.taps)
        d = correlate(u, taps, q.origin, (-1,), boundary="reflect")
        total = total + correlate_adjoint(d, taps, q.origin, (-1,), boundary="reflect")
    error = (total - u).abs()
    assert error.max() > 1e-2
    assert error[6:-6].max() < 1e-14
    with pytest.raises(ValueError, match="reflecting boundary"):
        FrameletTransform(bspline(order), boundary="reflect")


def test_a_ramp_has_no_edge_under_reflection_and_one_under_periodicity() -> None:
    ramp = torch.linspace(0, 1, 32, dtype=torch.float64)
    inside = slice(4, -4)
    for boundary, jump in (("periodic", True), ("reflect", False)):
        second = FrameletTransform(bspline(2), 1, 1, boundary)(ramp)[2]
        assert second[inside].abs().max() < 1e-15
        assert (second.abs().max() > 0.2) == jump


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
@pytest.mark.parametrize(("order", "levels"), [(2, 1), (2, 2), (2, 3), (4, 1), (4, 2)])
def test_the_smallest_picture_is_as_large_as_the_dilated_filter(order: int, levels: int, boundary: str) -> None:
    """(N_taps - 1) 2^{levels - 1} + 1 samples are enough, exactly, and one less is refused."""
    n = order * 2 ** (levels - 1) + 1
    W = FrameletTransform(bspline(order), levels, 2, boundary)
    u = picture(n, n + 1)
    torch.testing.assert_close(W.T(W(u)), u, rtol=0, atol=1e-14)
    for small in ((n - 1, n), (n, n - 1)):
        with pytest.raises(ValueError, match=f"{n} samples long"):
            W(picture(*small))


@pytest.mark.paper("(2.2)")
@pytest.mark.parametrize(("order", "levels"), [(1, 5), (2, 4), (4, 3)])
def test_the_filters_wrap_as_often_as_they_must(order: int, levels: int) -> None:
    """On the smallest picture the composed filter of (2.2) is nearly twice as long as the picture, and wraps."""
    n = order * 2 ** (levels - 1) + 1
    W = FrameletTransform(bspline(order), levels, 1)
    u = picture(n)
    assert W.filter((0,), levels - 1).taps.size > 1.5 * n
    for d, band in zip(W(u), W.bands, strict=True):
        torch.testing.assert_close(d, direct(u, W.filter(*band)), rtol=0, atol=1e-14)


# ---- the bands --------------------------------------------------------------------------------------------------


@pytest.mark.paper("(2.1)")
def test_the_order_of_the_bands() -> None:
    """The average, then level 0, level 1, ...; within a level by |ell|, then with the filter of x_1 first."""
    W = FrameletTransform(bspline(2), 2)
    level = [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (1, 2), (2, 2)]
    assert W.bands == (Band((0, 0), 1), *(Band(ell, l) for l in (0, 1) for ell in level))
    haar = FrameletTransform(bspline(1), 1, 3)
    assert [band.ell for band in haar.bands][:4] == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]


@pytest.mark.paper("(2.1)")
@pytest.mark.parametrize(("order", "levels", "dim"), [(1, 1, 1), (2, 3, 1), (1, 2, 2), (2, 2, 2), (4, 1, 2), (1, 2, 3)])
def test_the_index_set_of_21(order: int, levels: int, dim: int) -> None:
    """B = {(ell, l): 1 <= ell <= r, 0 <= l <= L} + {(0, L)}, r = (m + 1)^d - 1, each entry where `band` finds it."""
    W = FrameletTransform(bspline(order), levels, dim)
    r = (order + 1) ** dim - 1
    assert len(set(W.bands)) == len(W.bands) == r * levels + 1
    assert [band.low for band in W.bands] == [True] + [False] * (r * levels)
    assert {band.level for band in W.bands} == set(range(levels))
    for i, band in enumerate(W.bands):
        assert W.band(*band) == W.band(list(band.ell), band.level) == i
    with pytest.raises(ValueError, match="no band"):
        W.band((0,) * dim, levels)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_band_sees_its_own_direction(axis: int) -> None:
    """A picture that varies along x_i alone leaves all bands at zero but those that differentiate along x_i only."""
    W = FrameletTransform(bspline(2), 1, 3)
    line = picture(6)
    u = line.reshape([6 if i == axis else 1 for i in range(3)]).expand(6, 6, 6)
    for d, band in zip(W(u), W.bands, strict=True):
        alone = all(ell == 0 for i, ell in enumerate(band.ell) if i != axis)
        assert (d.abs().max() > 1e-2) == alone, band


@pytest.mark.paper("(4.1)")
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bands_annihilate_polynomials(order: int) -> None:
    """q_l has l vanishing moments: away from the border, W_l kills x^b for b < l and makes x^l a constant."""
    W = FrameletTransform(bspline(order), 2, 1)
    x = torch.arange(64, dtype=torch.float64) / 64
    inside = slice(16, 48)
    for band in W.bands[1:]:
        ell = band.ell[0]
        for b in range(ell):
            assert W(x**b)[W.band(*band)][inside].abs().max() < 1e-13
        constant = W(x**ell)[W.band(*band)][inside]
        assert constant.std() < 1e-13
        assert constant.abs().min() > 1e-8


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
def test_high_bands_of_a_constant_vanish_and_the_average_keeps_it(boundary: str) -> None:
    W = FrameletTransform(bspline(2), 3, 2, boundary)
    d = W(torch.full((12, 13), 0.7, dtype=torch.float64))
    torch.testing.assert_close(d[0], torch.full((12, 13), 0.7, dtype=torch.float64), rtol=0, atol=1e-15)
    assert d[1:].abs().max() < 1e-15


def test_high_bands_have_mean_zero_and_the_average_has_the_mean() -> None:
    W = FrameletTransform(bspline(2), 3)
    u = picture(12, 13)
    means = W(u).mean((-1, -2))
    assert means[1:].abs().max() < 1e-15
    torch.testing.assert_close(means[0], u.mean(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_nonseparable_bank_of_tensor_products_is_the_separable_bank(dim: int) -> None:
    bank = bspline(1)
    separable = FrameletTransform(bank, 2, dim)
    filters = [tensor_product(*(bank[ell] for ell in index)) for index in separable.indices]
    whole = FrameletTransform(filters, 2, dim)
    u = picture(*SHAPES[dim])
    torch.testing.assert_close(whole(u), separable(u), rtol=0, atol=1e-15)
    torch.testing.assert_close(whole.T(separable(u)), u, rtol=0, atol=1e-14)
    assert whole.bands[1] == Band((1,), 0)
    assert whole.band((2,), 1) == separable.band(separable.indices[2], 1)


def test_a_nonseparable_frame_reconstructs() -> None:
    for dim in (2, 3):
        W = FrameletTransform(simplex_bank(dim), 3, dim)
        assert not W.separable
        u = picture(2, *SHAPES[dim])
        torch.testing.assert_close(W.T(W(u)), u, rtol=0, atol=1e-13)


# ---- what goes with W -------------------------------------------------------------------------------------------


def test_weights_are_zero_on_the_average_and_decay_with_the_level() -> None:
    W = FrameletTransform(bspline(1), 3, 2)
    lam = W.weights(0.8, decay=0.5)
    assert lam.shape == (10, 1, 1)
    assert lam.flatten().tolist() == [0.0] + [0.8] * 3 + [0.4] * 3 + [0.2] * 3
    assert W.weights(0.8).flatten().tolist() == [0.0] + [0.8] * 9
    assert (lam * W(picture(8, 9))).shape == (10, 8, 9)


def test_weights_band_by_band() -> None:
    W = FrameletTransform(bspline(1), 2, 1)
    lam = W.weights(torch.tensor([9.0, 1.0, 2.0]), decay=0.5)
    assert lam.flatten().tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(("order", "levels", "dim"), [(1, 3, 1), (2, 2, 1), (2, 3, 2), (4, 1, 2), (1, 2, 3)])
def test_the_gains_share_out_the_energy_of_white_noise(order: int, levels: int, dim: int) -> None:
    """The squares of |q_{ell,l}|_2 sum to 1, since sum |q_l^|^2 = 1 at every level; the Haar band has 1/2."""
    W = FrameletTransform(bspline(order), levels, dim)
    assert W.gains.shape == (len(W.bands), *[1] * dim)
    assert W.gains.square().sum().item() == pytest.approx(1, rel=1e-14)
    u = torch.zeros((2 * order * 2**levels,) * dim, dtype=torch.float64)
    u[(0,) * dim] = 1
    response = torch.linalg.vector_norm(W(u).flatten(-dim), dim=-1)
    torch.testing.assert_close(W.gains.flatten(), response, rtol=1e-13, atol=0)


def test_white_noise_has_the_deviation_of_the_gain() -> None:
    W = FrameletTransform(bspline(2), 2)
    deviation = W(picture(100, 128, 16)).std(dim=(0, 2, 3))
    torch.testing.assert_close(deviation, W.gains.flatten(), rtol=0.03, atol=0)


@pytest.mark.paper("(2.1)")
def test_a_moved_transform_keeps_its_dual_beside_it() -> None:
    bank, dual = biorthogonal(2, 2)
    W = FrameletTransform(bank, dual=dual).to("meta")
    assert W.dual.device.type == "meta"
    assert W.gains.device.type == "meta"
    assert W.dual.T(W(torch.zeros(9, 9, device="meta"))).shape == (9, 9)


def test_moving_a_transform_to_float32_keeps_its_filters_exact() -> None:
    """W.float(), or that of a module that holds W, must not round the taps: float64 pictures still come back."""
    W = FrameletTransform(bspline(2), levels=2)
    holder = torch.nn.Sequential(W).float()
    u = torch.randn(20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert holder[0] is W and (W.T(W(u)) - u).abs().max() < 1e-14
    assert W(u.float()).dtype == torch.float32
