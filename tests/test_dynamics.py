"""u^{k+1} = F(u^k): the one verb `run`, its lazy orbit, its stopping rule and what it watches on the way."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from companion import StabilityWarning, Trajectory, fixed_point, iterate, run
from companion.dynamics import maps


class Halve(nn.Module):
    def forward(self, u: Tensor) -> Tensor:
        return u / 2


class Add(nn.Module):
    def __init__(self, c: float):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))

    def forward(self, u: Tensor) -> Tensor:
        return u + self.c


class State(NamedTuple):
    """A solver's state: the iterate u first, an auxiliary b after it."""

    u: Tensor
    b: Tensor


class Lagging:
    """u^{k+1} = b^k, b^{k+1} = b^k / 2 + 1: the iterate stands still in the first step while b moves.

    That is ADMM started at u^0 = f: a rule that looks at u alone stops it before it has begun. Limit: u = b = 2.
    """

    def start(self, u0: Tensor) -> State:
        return State(u0, u0.clone())

    def image(self, x: State) -> Tensor:
        return x.u

    def __call__(self, x: State) -> State:
        return State(x.b, x.b / 2 + 1)


def u0(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


# ---- the orbit --------------------------------------------------------------------------------------------------


def test_an_orbit_is_what_a_loop_gives() -> None:
    F: Callable[[Tensor], Tensor] = lambda u: torch.sin(u) + 0.1  # noqa: E731
    u = x = u0(3, 4)
    for _ in range(7):
        u = F(u)
    end = run(F, x, k=7)
    assert torch.equal(end.u, u)
    assert torch.equal(end.x, u)
    assert (end.k, end.stopped, end.kept, end.curves) == (7, "k", {}, {})
    assert isinstance(end, Trajectory)


def test_the_orbit_is_lazy_and_endless() -> None:
    calls = []
    orbit = iterate(lambda x: calls.append(x) or x + 1, 0)
    assert calls == []
    assert list(itertools.islice(orbit, 5)) == [0, 1, 2, 3, 4]
    assert calls == [0, 1, 2, 3]


def test_an_orbit_starts_at_its_start() -> None:
    u = u0(3)
    assert next(iterate(Halve(), u)) is u
    assert len(list(iterate([Halve(), Halve()], u))) == 3


def test_no_step_is_the_start_itself() -> None:
    u = u0(3)
    for end in (run(Halve(), u, k=0), run([], u), run([Halve()], u, k=0), run(nn.ModuleList(), u)):
        assert torch.equal(end.u, u)
        assert (end.k, end.stopped) == (0, "k")


def test_the_start_is_never_changed() -> None:
    u = u0(5)
    before = u.clone()
    run(Halve(), u, k=3, keep=1, record={"norm": torch.linalg.vector_norm})
    assert torch.equal(u, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128, torch.bfloat16], ids=str)
def test_pictures_of_every_type(dtype: torch.dtype) -> None:
    """A quarter turn of the complex plane four times over is the identity; fixed_point measures moduli."""
    u = torch.randn(4, dtype=torch.float64).to(dtype) + (2j if dtype.is_complex else 0)
    turn = 1j if dtype.is_complex else -1
    end = run(lambda u: turn * u, u, k=4)
    assert end.u.dtype == dtype
    torch.testing.assert_close(end.u, u)
    assert run(lambda u: turn * u, u, k=9, until=fixed_point(1e-3)).stopped == "k"
    assert run(lambda u: u / 2, u, k=999, until=fixed_point(0.51)).k == 1


def test_a_scalar_is_a_picture() -> None:
    assert run(lambda u: u / 2, torch.tensor(8.0), k=3).u.item() == 1.0


# ---- lists of maps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [list, tuple, nn.ModuleList], ids=lambda c: c.__name__)
def test_a_sequence_of_maps_is_run_once_through_in_order(container) -> None:
    steps = container([Halve(), Add(3.0), Halve()])
    end = run(steps, torch.tensor([2.0], dtype=torch.float64))
    assert end.u.item() == (2 / 2 + 3) / 2
    assert (end.k, end.stopped) == (3, "k")
    assert run(steps, torch.tensor([2.0], dtype=torch.float64), k=2).u.item() == 4
    assert run(steps, torch.tensor([2.0], dtype=torch.float64), k=99).k == 3


def test_a_module_list_is_callable_and_yet_a_sequence() -> None:
    assert callable(nn.ModuleList())
    assert maps(nn.ModuleList([Halve()])) is not None
    assert maps(nn.Sequential(Halve(), Halve())) is None  # one map, which composes
    assert maps(Halve()) is None
    assert run(nn.Sequential(Halve(), Halve()), torch.tensor(16.0), k=2).u.item() == 1.0


def test_a_sequence_stops_early_by_its_rule() -> None:
    end = run([Halve()] * 9, u0(3), until=lambda new, old: bool(new.abs().max() < 0.2 * old.abs().max()))
    assert (end.k, end.stopped) == (9, "k")
    end = run([Halve(), Halve(), lambda u: u, Halve()], u0(3), until=fixed_point(1e-9))
    assert (end.k, end.stopped) == (3, "until")


# ---- hooks ------------------------------------------------------------------------------------------------------


def test_start_lifts_and_image_reads_out() -> None:
    class Doubled:
        def start(self, u0: Tensor) -> tuple[Tensor, Tensor]:
            return (10 * u0, u0)

        def image(self, x: tuple[Tensor, Tensor]) -> Tensor:
            return x[1]

        def __call__(self, x: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return (x[0], x[1] + x[0])

    end = run(Doubled(), torch.tensor(1.0), k=2, keep=1, record={"u": lambda u: u})
    assert end.u.item() == 21
    assert [t.item() for t in end.x] == [10, 21]
    assert end.curves["u"].tolist() == [1, 11, 21]
    assert {k: u.item() for k, u in end.kept.items()} == {0: 1, 1: 11, 2: 21}


def test_the_first_map_of_a_sequence_lifts_for_all() -> None:
    end = run([Lagging(), Lagging(), Lagging()], torch.tensor(0.0))
    assert isinstance(end.x, State)
    assert (end.u.item(), end.x.b.item()) == (1.5, 1.75)


def test_without_hooks_the_iterate_is_the_first_field() -> None:
    class Bare:
        def start(self, u0: Tensor) -> State:
            return State(u0, u0 + 1)

        def __call__(self, x: State) -> State:
            return State(x.u * 3, x.b)

    assert run(Bare(), torch.tensor(2.0), k=2).u.item() == 18


# ---- stopping ---------------------------------------------------------------------------------------------------


def test_a_fixed_point_is_found_to_its_tolerance() -> None:
    end = run(torch.cos, u0(5), until=fixed_point(1e-12))
    assert end.stopped == "until"
    torch.testing.assert_close(end.u, torch.cos(end.u), rtol=0, atol=1e-12)
    assert end.k < 100


def test_the_rule_is_relative() -> None:
    """||x^{k+1} - x^k|| <= tol ||x^k||: whether grey values run to 1 or to 255 changes nothing."""
    u = u0(50)
    steps = [run(lambda u: u - 0.1 * (u - u.mean()), c * u, until=fixed_point(1e-4)).k for c in (1e-6, 1.0, 255.0)]
    assert len(set(steps)) == 1
    rule = fixed_point(0.25)
    assert rule(torch.tensor([1.25]), torch.tensor([1.0]))
    assert not rule(torch.tensor([1.2501]), torch.tensor([1.0]))


def test_the_rule_measures_the_whole_state() -> None:
    """The trap of ADMM at u^0 = f: in the first step u does not move at all."""
    solver, start = Lagging(), torch.zeros(3, dtype=torch.float64)
    first = solver(solver.start(start))
    assert torch.equal(first.u, start)
    trapped = run(solver, start, k=99, until=lambda new, old: fixed_point(1e-6)(new.u, old.u))
    assert trapped.k == 1
    end = run(solver, start, until=fixed_point(1e-10))
    torch.testing.assert_close(end.u, torch.full_like(start, 2.0), rtol=0, atol=1e-8)


def test_the_rule_measures_the_whole_batch() -> None:
    """One picture at rest does not stop a batch in which another still moves."""
    rates = torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    end = run(lambda u: rates * u, torch.tensor([[1e-3], [1.0]], dtype=torch.float64), until=fixed_point(1e-3))
    assert end.k > 15


def test_every_spares_tests_and_stops_a_little_later() -> None:
    u = u0(5)
    exact = run(torch.cos, u, until=fixed_point(1e-8)).k
    for every in (1, 2, 5, 7):
        end = run(torch.cos, u, until=fixed_point(1e-8, every=every))
        assert end.k % every == 0
        assert exact <= end.k < exact + every


def test_every_calls_the_rule_that_often() -> None:
    rule = fixed_point(1e-9, every=3)
    same = torch.ones(2)
    assert [rule(same, same) for _ in range(7)] == [False, False, True, False, False, True, False]


def test_rest_at_zero_is_rest() -> None:
    assert run(lambda u: 0 * u, torch.zeros(3), k=5, until=fixed_point(1e-9)).k == 1
    assert run(lambda u: 0 * u, torch.ones(3), k=5, until=fixed_point(1e-9)).k == 2


def test_states_of_different_length_are_an_error() -> None:
    rule = fixed_point(1e-3)
    with pytest.raises(ValueError, match="zip"):
        rule((torch.ones(2), torch.ones(2)), (torch.ones(2),))


def test_k_bounds_a_run_that_does_not_arrive() -> None:
    end = run(lambda u: u + 1, torch.zeros(2), k=6, until=fixed_point(1e-12))
    assert (end.k, end.stopped, end.u[0].item()) == (6, "k", 6.0)


def test_the_rule_sees_new_and_old() -> None:
    seen = []
    run(lambda u: u + 1, torch.tensor(0.0), k=3, until=lambda new, old: seen.append((new.item(), old.item())) or False)
    assert seen == [(1, 0), (2, 1), (3, 2)]


# ---- watching ---------------------------------------------------------------------------------------------------


def test_curves_have_the_start_and_every_step() -> None:
    end = run(Halve(), torch.tensor([8.0, 4.0], dtype=torch.float64), k=3, record={"max": torch.max, "u": lambda u: u})
    assert end.curves["max"].tolist() == [8, 4, 2, 1]
    assert end.curves["u"].shape == (4, 2)
    assert end.curves["u"].dtype == torch.float64


def test_curves_of_a_run_that_stopped_by_its_rule() -> None:
    end = run(Halve(), torch.tensor([8.0]), k=99, until=lambda new, old: bool(new < 2), record={"u": lambda u: u[0]})
    assert (end.k, end.stopped) == (3, "until")
    assert end.curves["u"].tolist() == [8, 4, 2, 1]


def test_numbers_are_recorded_in_double_precision() -> None:
    """An energy that falls by 1e-9 a step must be seen to fall."""
    energies = iter([1 - 1e-9 * k for k in range(6)])
    curve = run(Halve(), u0(2), k=5, record={"E": lambda u: next(energies)}).curves["E"]
    assert (curve.diff() < 0).all()
    assert curve.dtype == torch.float64


class Whole:
    """A measure of the whole state, as an objective is: it says so by `of_state`."""

    of_state = True

    def __call__(self, x: State) -> Tensor:
        assert isinstance(x, State)
        return x.b.sum()


def test_a_measure_of_the_state_is_given_the_state() -> None:
    """... and every other measure the picture."""
    u = torch.tensor([1.0, 3.0], dtype=torch.float64)
    end = run(Lagging(), u, k=2, record={"b": Whole(), "u": torch.sum})
    assert end.curves["u"].tolist() == [4, 4, 4]
    assert end.curves["b"].tolist() == [4, 4, 4]
    end = run(Lagging(), 2 * u, k=2, record={"b": Whole(), "u": torch.sum})
    assert end.curves["u"].tolist() == [8, 8, 6]
    assert end.curves["b"].tolist() == [8, 6, 5]


def test_recording_counts_and_flags() -> None:
    end = run(Halve(), u0(4), k=2, record={"n": lambda u: u.numel(), "flag": lambda u: True})
    assert end.curves["n"].tolist() == [4, 4, 4]
    assert end.curves["flag"].tolist() == [True, True, True]


@pytest.mark.parametrize(("k", "keep", "kept"), [(7, 3, [0, 3, 6, 7]), (6, 3, [0, 3, 6]), (5, 99, [0, 5]), (0, 1, [0])])
def test_kept_iterates_are_those_asked_for_and_both_ends(k: int, keep: int, kept: list[int]) -> None:
    end = run(lambda u: u + 1, torch.zeros(2), k=k, keep=keep)
    assert sorted(end.kept) == kept
    assert all(u[0].item() == n for n, u in end.kept.items())


def test_what_is_watched_is_detached() -> None:
    theta = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    end = run(lambda u: theta * u, u0(3), k=3, keep=1, record={"sum": torch.sum})
    assert end.u.requires_grad
    assert not any(u.requires_grad for u in end.kept.values())
    assert not end.curves["sum"].requires_grad


def test_watching_does_not_alter_the_orbit() -> None:
    u = u0(6)
    plain = run(torch.cos, u, k=12)
    watched = run(torch.cos, u, k=12, keep=2, record={"norm": torch.linalg.vector_norm}, until=lambda *_: False)
    barred = run(torch.cos, u, k=12, progress="cosine")
    assert torch.equal(plain.u, watched.u)
    assert torch.equal(plain.u, barred.u)
    assert plain.k == watched.k == barred.k == 12
    assert torch.equal(run([torch.cos] * 12, u, progress=True).u, plain.u)


# ---- interruption -----------------------------------------------------------------------------------------------


class Interrupted:
    """A map at whose fourth call somebody presses Ctrl-C."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, u: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 4:
            raise KeyboardInterrupt
        return u + 1


@pytest.mark.parametrize("progress", [False, True])
def test_an_interrupted_run_returns_what_it_reached(progress: bool) -> None:
    end = run(Interrupted(), torch.zeros(2), k=10, keep=2, record={"u": lambda u: u[0]}, progress=progress)
    assert (end.k, end.stopped, end.u[0].item()) == (3, "interrupt", 3.0)
    assert end.curves["u"].tolist() == [0, 1, 2, 3]
    assert sorted(end.kept) == [0, 2, 3]


def test_an_interruption_while_measuring_leaves_curves_of_equal_length() -> None:
    """`curves` have k + 1 entries each, whenever Ctrl-C came."""
    calls = itertools.count()

    def measure(u: Tensor) -> Tensor:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return u.sum()

    end = run(Halve(), u0(2), k=10, record={"first": torch.sum, "second": measure})
    assert end.stopped == "interrupt"
    assert {len(c) for c in end.curves.values()} == {end.k + 1}


def test_other_errors_are_not_swallowed() -> None:
    def broken(u: Tensor) -> Tensor:
        raise ArithmeticError("a defect of the map")

    with pytest.raises(ArithmeticError, match="a defect of the map"):
        run(broken, u0(2), k=3)


# ---- gradients --------------------------------------------------------------------------------------------------


def test_gradients_flow_through_all_steps() -> None:
    """d/dtheta of theta^k u = k theta^{k-1} u, and du^k/du^0 = theta^k."""
    theta = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    u = u0(3).requires_grad_()
    run(lambda u: theta * u, u, k=5).u.sum().backward()
    torch.testing.assert_close(theta.grad, 5 * 0.9**4 * u.detach().sum())
    torch.testing.assert_close(u.grad, torch.full_like(u, 0.9**5))
    assert torch.autograd.gradcheck(lambda u: run(torch.sin, u, k=4, keep=1, record={"s": torch.sum}).u, (u,))


def test_every_layer_of_a_sequence_learns() -> None:
    net = nn.ModuleList([Add(0.1), Halve(), Add(0.2)])
    run(net, u0(4)).u.sum().backward()
    assert [p.grad.item() for p in net.parameters()] == [2.0, 4.0]


def test_no_graph_is_kept_where_none_is_wanted() -> None:
    with torch.no_grad():
        end = run([Add(1.0)], u0(2))
    assert not end.u.requires_grad


# ---- what a blow-up looks like ----


def test_a_diverging_orbit_is_not_a_fixed_point() -> None:
    """Squares overflow long before the state does: doubling must not pass for standing still."""
    with pytest.warns(StabilityWarning, match="diverged: after 1024 steps"):
        end = run(lambda x: 2 * x, torch.ones(3, dtype=torch.float64), k=5000, until=fixed_point(1e-3))
    assert end.stopped == "diverged" and end.k == 1024


def test_a_shrinking_orbit_runs_to_its_fixed_point() -> None:
    """Squares underflow long before the state does: halving stops at 0, not at 1e-23."""
    end = run(lambda x: x / 2, torch.ones(3), until=fixed_point(1e-3))
    assert end.stopped == "until" and not end.u.any()


def test_a_map_that_works_in_place_does_not_change_u0() -> None:
    """The map gets a copy of u0."""
    u0 = torch.zeros(3)
    assert run(lambda u: u.add_(1), u0, k=3).u.tolist() == [3.0, 3.0, 3.0] and not u0.any()


def test_recorded_numpy_numbers_are_float64() -> None:
    curve = run(lambda u: u, torch.ones(2), k=1, record={"a": lambda u: u.numpy()[0]}).curves["a"]
    assert curve.dtype == torch.float64


def test_a_fixed_point_does_not_look_at_a_clock() -> None:
    """FISTA's gamma moves for ever; the iterate beside it does not."""

    class Timed(NamedTuple):
        u: torch.Tensor
        clock: torch.Tensor

    rule = fixed_point(1e-6)
    u = torch.ones(3)
    assert rule(Timed(u, torch.tensor(2.0)), Timed(u, torch.tensor(1.0)))
    assert fixed_point(1e-6)(torch.tensor(1.0), torch.tensor(1.0)) and not fixed_point(1e-6)(
        torch.tensor(2.0), torch.tensor(1.0)
    )


def test_a_picture_is_read_out_only_where_it_is_asked_for() -> None:
    class Counted:
        asked = 0

        def image(self, x: Tensor) -> Tensor:
            self.asked += 1
            return x

        def __call__(self, x: Tensor) -> Tensor:
            return x / 2

    def measure(x: Tensor) -> float:
        return float(x)

    def of_state(x: Tensor) -> float:
        return float(x)

    of_state.of_state = True  # type: ignore[attr-defined]
    for options, times in (
        ({}, 1),
        ({"record": {"a": of_state}}, 1),
        ({"record": {"a": measure}}, 6),
        ({"keep": 2}, 4),
    ):
        step = Counted()
        run(step, torch.tensor(8.0), k=4, **options)
        assert step.asked == times


class Leaping:
    """x -> 2 x + 1, best taken four steps at once."""

    together = 4

    def __init__(self) -> None:
        self.taken: list[int] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.power(x, 1)

    def power(self, x: torch.Tensor, k: int) -> torch.Tensor:
        self.taken.append(k)
        return 2**k * x + (2**k - 1)


@pytest.mark.parametrize("progress", [False, True])
def test_steps_are_taken_together_where_nobody_looks(progress: bool) -> None:
    x, step = torch.tensor(1.0, dtype=torch.float64), Leaping()
    end = run(step, x, k=10, progress=progress)
    assert step.taken == [4, 4, 2] and end.k == 10 and float(end.u) == 2**11 - 1
    for watched in ({"record": {"x": lambda x: x}}, {"keep": 5}, {"until": lambda new, old: False}):
        step = Leaping()
        assert float(run(step, x, k=10, **watched).u) == 2**11 - 1
        assert step.taken == [1] * 10


def test_an_interrupt_between_leaps_returns_what_was_reached() -> None:
    class Interrupted(Leaping):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return self.power(x, 1)

        def power(self, x: torch.Tensor, k: int) -> torch.Tensor:
            if len(self.taken) == 2:
                raise KeyboardInterrupt
            return super().power(x, k)

    end = run(Interrupted(), torch.tensor(0.0), k=20)
    assert (end.stopped, end.k, float(end.u)) == ("interrupt", 8, 255.0)
