"""What every field obeys: its mean, its extrema up to max_dt and not beyond, shifts, batches, types, derivatives."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import Field
from tests.laws.registry import FIELDS, FieldExample, checkerboard, public_subclasses, spike, valley


def names(examples: list[FieldExample]) -> Callable:
    return pytest.mark.parametrize("example", examples, ids=lambda example: example.name)


every = names(FIELDS)
bounded = names([e for e in FIELDS if e.make().maximum_principle or e.within is not None])
unbounded = names([e for e in FIELDS if not e.make().maximum_principle and e.within is None])
sharp = names([e for e in FIELDS if e.peak is not None])
on_the_torus = names([e for e in FIELDS if e.torus])


def space(u: Tensor, example: FieldExample) -> tuple[int, ...]:
    return tuple(range(-len(example.shape), 0))


def pictures(example: FieldExample) -> Tensor:
    """Adversaries: noise of all sizes, two grey values, spikes, checkerboards, stripes, an edge, ramps, and `peak`."""
    shape = example.shape
    noise = [size * example.input() for size in (1e-4, 0.1, 1.0, 30.0)]
    two = [torch.rand(shape, dtype=torch.float64).round() * size for size in (1e-4, 1.0, 1.0, 1.0, 30.0)]
    line = torch.arange(shape[-1]).expand(shape)
    shapes = [checkerboard(*shape), spike(*shape), (line % 2).double(), (line > shape[-1] // 2).double()]
    shapes += [line.double(), valley(*shape), valley(*shape).clamp_max(1)]
    found = noise + two + [s * u for u in shapes for s in (1e-4, -1.0, 3.0)]
    return torch.stack(found + ([] if example.peak is None else [example.peak()]))


def excess(u: Tensor, v: Tensor, example: FieldExample) -> Tensor:
    """How far each picture v leaves the range of u, and of the data that count with it, over the size of u."""
    axes = space(u, example)
    high, low = u.amax(axes), u.amin(axes)
    if example.within is not None:
        high, low = high.clamp_min(float(example.within.max())), low.clamp_max(float(example.within.min()))
    return torch.maximum(v.amax(axes) - high, low - v.amin(axes)) / torch.maximum(high.abs(), low.abs()).clamp_min(
        1e-300
    )


def test_every_field_has_an_example() -> None:
    seen = {type(example.make()) for example in FIELDS}
    missing = sorted(cls.__name__ for cls in public_subclasses(Field) - seen)
    assert not missing, f"Register an example of {', '.join(missing)} in tests/laws/registry.py."


def test_names_of_examples_differ() -> None:
    labels = [example.name for example in FIELDS]
    assert len(set(labels)) == len(labels)


# ---- mean and extrema -------------------------------------------------------------------------------------------


@every
def test_the_mean_is_kept_where_it_is_said_and_only_there(example: FieldExample) -> None:
    F, u = example.make(), pictures(example)
    v = F(u)
    lost = v.sum(space(u, example)).abs() / v.abs().sum(space(u, example)).clamp_min(1e-300)
    assert (lost.max() < 1e-11) == F.keeps_mean


@bounded
def test_the_extrema_are_kept_up_to_the_largest_step(example: FieldExample) -> None:
    """Along ten steps of each picture, long and short ones, each against the picture before it."""
    F, u = example.make(), pictures(example)
    for part in (1.0, 1.0, 0.37, 1.0, 0.9, 1.0, 0.02, 1.0, 0.5, 1.0):
        v = u + part * F.max_dt * F(u)
        assert excess(u, v, example).max() < 1e-12
        u = v


@unbounded
def test_where_nothing_is_promised_some_picture_leaves_its_range(example: FieldExample) -> None:
    F = example.make()
    for size, _ in itertools.product((0.3, 1.0, 5.0, 30.0), range(8)):
        u = size * torch.rand(40, *example.shape, dtype=torch.float64)
        if max(float(excess(v, v + F.max_dt * F(v), example).max()) for v in (u, size * (u / size).round())) > 1e-3:
            return
    raise AssertionError("no picture was found that leaves its range: is the maximum principle true?")


@names([e for e in FIELDS if not e.feeds])
def test_a_step_up_to_the_largest_does_not_blow_up(example: FieldExample) -> None:
    F, u = example.make(), pictures(example)
    first = u.abs().amax(space(u, example))
    if example.within is not None:
        first = first.clamp_min(float(example.within.max()))
    for _ in range(40):
        u = u + F.max_dt * F(u)
    assert (u.abs().amax(space(u, example)) <= 2 * first).all()


@sharp
def test_the_largest_step_is_sharp(example: FieldExample) -> None:
    """One percent more, and `peak` leaves its range, or grows."""
    F = example.make()
    u = example.peak()
    exact, beyond = (u + part * F.max_dt * F(u) for part in (1.0, 1.01))
    if not example.grows:
        assert excess(u, exact, example) < 1e-12 < 1e-3 < excess(u, beyond, example)
    else:
        for _ in range(99):
            exact, beyond = (v + part * F.max_dt * F(v) for v, part in ((exact, 1.0), (beyond, 1.01)))
        assert exact.norm() <= u.norm() * (1 + 1e-6)
        assert beyond.norm() > 2 * u.norm()


@names([e for e in FIELDS if e.peak is None])
def test_where_the_largest_step_is_not_sharp_the_example_says_why(example: FieldExample) -> None:
    assert example.blunt


def test_a_field_without_a_bound_takes_every_step() -> None:
    assert Field().max_dt == math.inf and not Field.maximum_principle and not Field.keeps_mean


# ---- invariances ------------------------------------------------------------------------------------------------


@every
def test_constants_are_stationary_and_a_shift_of_grey_has_no_influence(example: FieldExample) -> None:
    F, u = example.make(), example.input()
    if not example.grey:
        assert (F(u + 3.7) - F(u)).abs().max() > 0.1
        return
    assert F(torch.full_like(u, 0.7)).abs().max() < 1e-12
    torch.testing.assert_close(F(u + 3.7), F(u), rtol=1e-9, atol=1e-9)


@on_the_torus
def test_on_the_torus_the_field_commutes_with_translations(example: FieldExample) -> None:
    F, u = example.make(), example.input()
    axes = space(u, example)
    by = tuple(range(1, len(axes) + 1))
    torch.testing.assert_close(F(u.roll(by, axes)), F(u).roll(by, axes), rtol=1e-11, atol=1e-11)


# ---- tensors ----------------------------------------------------------------------------------------------------


@every
def test_a_batch_is_a_loop(example: FieldExample) -> None:
    F, u = example.make(), example.input(2, 3)
    loop = torch.stack([F(v) for v in u.flatten(0, 1)]).reshape(u.shape)
    torch.testing.assert_close(F(u), loop, rtol=1e-12, atol=1e-12)


@every
def test_the_type_is_kept(example: FieldExample) -> None:
    F, u = example.make(), example.input(dtype=torch.float32)
    v, w = F(u), F(u.double())
    assert v.dtype == torch.float32 and w.dtype == torch.float64 and v.shape == w.shape == u.shape
    torch.testing.assert_close(v.double(), w, rtol=1e-3, atol=1e-3)


@names([e for e in FIELDS if e.meta])
def test_the_device_is_kept(example: FieldExample) -> None:
    """On the device without numbers: every tensor that F makes is made where u is."""
    v = example.make().to("meta")(torch.empty(2, *example.shape, device="meta"))
    assert v.device.type == "meta" and v.shape == (2, *example.shape)


@every
def test_nothing_is_changed_in_place_and_nothing_remembered(example: FieldExample) -> None:
    """Neither the picture nor the field: the same picture has the same velocity after another one."""
    F, u = example.make(), example.input()
    before, version = u.clone(), u._version
    first = F(u)
    F(example.input())
    assert torch.equal(u, before) and u._version == version and torch.equal(F(u), first)


@every
def test_gradients_flow(example: FieldExample) -> None:
    """The derivative by differences at a random picture; finite at a constant one and at a spike, where norms kink."""
    F = example.make()
    u = example.input().requires_grad_()
    assert torch.autograd.gradcheck(F, (u,), fast_mode=True, atol=1e-4)
    for flat in (torch.zeros_like(u), spike(*example.shape, size=1.0)):
        flat = flat.detach().requires_grad_()
        v = F(flat)
        if v.requires_grad:
            (slope,) = torch.autograd.grad(v.square().sum() + v.sum(), flat)
            assert slope.isfinite().all()


# ---- the flow ---------------------------------------------------------------------------------------------------


@every
def test_the_flow_ends_at_t_in_equal_steps_below_the_largest(example: FieldExample) -> None:
    F, u = example.make(), example.input()
    t = 2.3 * F.max_dt
    end = F.flow(u, t)
    assert 0 < F.max_dt < math.inf
    v = u
    for _ in range(3):
        v = v + t / 3 * F(v)
    assert end.k == 3
    torch.testing.assert_close(end.u, v, rtol=1e-12, atol=1e-12)
