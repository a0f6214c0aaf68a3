"""Growing blocks: what each stage trains, and that a training that was cut ends where it would have ended."""

import warnings
from typing import Any

import pytest
import torch

from companion.dynamics import StabilityWarning
from companion.lab.blockwise import blockwise
from companion.lab.pde_data import Data, frames
from companion.lab.pdes import Heat
from companion.nets.pdenet import PDENet, block_loss, pdenet


def films(seed: int = 0, noise: float = 0.001) -> Data:
    return frames(Heat(0.1), n=3, steps=3, grid=32, coarse=16, max_dt=1 / 200, noise=noise, seed=seed)


def net(seed: int = 0, **options: Any) -> PDENet:
    generator = torch.Generator().manual_seed(seed)
    return pdenet(1, h=films().h, dt=0.01, hidden=1, generator=generator, **options)


def state(net: PDENet) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_losses_are_those_of_the_stages_and_fall() -> None:
    """Each loss is that of its number of blocks, computed again; from a bad start it falls by more than a half."""
    data, theirs = films(), net()
    before = float(block_loss(theirs, data.u[:, :2], data.dt, 0.0, 0.0).detach())
    for n in (0, 1, 2):
        (stage,) = blockwise(theirs, lambda stage, frames: data, (n,), 15, progress=False)
        weights = (0.005, 0.001) if n else (0.0, 0.0)
        again = float(block_loss(theirs, data.u[:, : max(1, n) + 1], data.dt, *weights).detach())
        assert stage.blocks == n and stage.loss == pytest.approx(again, rel=1e-12) and 1 < stage.evaluations <= 30
        if n == 0:
            assert stage.loss < 0.5 * before


def test_the_warm_up_leaves_the_filters_and_the_blocks_train_them() -> None:
    theirs = net()
    start = theirs.F.bank.free.detach().clone()
    blockwise(theirs, lambda stage, frames: films(), (0,), 5, progress=False)
    assert torch.equal(theirs.F.bank.free, start)
    blockwise(theirs, lambda stage, frames: films(), (1,), 5, progress=False)
    assert not torch.equal(theirs.F.bank.free, start)
    assert torch.equal(theirs.F.bank.moments()[theirs.F.bank.mask], theirs.F.bank.fixed[theirs.F.bank.mask])
    frozen = net(learned=False)
    blockwise(frozen, lambda stage, frames: films(), (0, 1), 5, progress=False)
    assert torch.equal(frozen.F.bank.free, start)


def test_each_stage_asks_for_its_own_data() -> None:
    asked = []

    def make(stage: int, count: int) -> Data:
        asked.append((stage, count))
        return films(stage)

    blockwise(net(), make, (0, 0, 1, 3), 2, progress=False)
    assert asked == [(0, 2), (1, 2), (2, 2), (3, 4)]


def test_a_cut_training_ends_where_it_would_have_ended(tmp_path) -> None:
    """Cut as the third stage asks for its data; another net goes on from the file, to the last bit."""
    whole, cut, other = net(), net(), net(5)
    blocks = (0, 1, 2, 3)
    history = blockwise(whole, lambda stage, count: films(stage), blocks, 6, progress=False)

    def broken(stage: int, count: int) -> Data:
        if stage == 2:
            raise KeyboardInterrupt
        return films(stage)

    file = tmp_path / "net.pt"
    with pytest.raises(KeyboardInterrupt):
        blockwise(cut, broken, blocks, 6, checkpoint=file, progress=False)
    again = blockwise(other, lambda stage, count: films(stage), blocks, 6, checkpoint=file, progress=False)
    assert same(state(whole), state(other)) and not same(state(whole), state(cut))
    assert [(s.blocks, s.loss, s.evaluations) for s in history] == [(s.blocks, s.loss, s.evaluations) for s in again]
    assert blockwise(other, broken, blocks, 6, checkpoint=file, progress=False) == again  # all is done: no data asked
    with pytest.raises(ValueError, match="iterations = 6; now iterations = 7"):
        blockwise(net(), lambda stage, count: films(stage), blocks, 7, checkpoint=file, progress=False)


def test_a_net_that_blows_up_is_left_as_the_last_good_stage_made_it() -> None:
    theirs = net()
    blockwise(theirs, lambda stage, count: films(), (0,), 5, progress=False)
    good = state(theirs)
    huge = films()._replace(u=films().u * 1e200)  # finite data, but their square is not
    pick = lambda stage, count: huge if stage else films()  # noqa: E731
    with pytest.warns(StabilityWarning, match="With 2 blocks the loss is not finite from the start"):
        history = blockwise(theirs, pick, (1, 2, 3), 5, progress=False)
    assert [s.blocks for s in history] == [1] and not same(good, state(theirs))
    kept = state(theirs)
    with pytest.warns(StabilityWarning, match="left as it came"):
        assert blockwise(theirs, lambda stage, count: huge, (1,), 5, progress=False) == []
    assert same(kept, state(theirs))


# ---- several nets in one ----


def several(*seeds: int) -> PDENet:
    """The nets of some seeds, stacked."""
    both = net(nets=len(seeds))
    parts = [net(seed).state_dict() for seed in seeds]
    own = both.state_dict()
    both.load_state_dict(
        {k: torch.stack([p[k] for p in parts]) if v.ndim > parts[0][k].ndim else v for k, v in own.items()}
    )
    return both


def own_films(stage: int, count: int) -> Data:
    return films()._replace(u=torch.stack([films(10 * stage).u, films(10 * stage + 1).u]))


def parameters(net: PDENet, s: int | None = None) -> torch.Tensor:
    return torch.cat([(p if s is None else p[s]).detach().flatten() for p in net.parameters()])


def test_two_nets_in_one_are_trained_as_two_nets() -> None:
    """Films and first weights of their own: the parameters, losses and evaluations of two trainings, to rounding."""
    both = several(3, 4)
    history = blockwise(both, own_films, (0, 1, 2), 8, progress=False)
    for s, seed in enumerate((3, 4)):
        alone = net(seed)
        theirs = blockwise(alone, lambda stage, count: films(10 * stage + s), (0, 1, 2), 8, progress=False)  # noqa: B023
        assert [h.evaluations[s] for h in history] == [h.evaluations for h in theirs]
        assert [h.loss[s] for h in history] == pytest.approx([h.loss for h in theirs], rel=1e-7)
        assert torch.allclose(parameters(both, s), parameters(alone), rtol=1e-5, atol=1e-7)
        assert not torch.allclose(parameters(alone), parameters(net(seed)), atol=1e-3)


def test_of_several_nets_those_that_blow_up_are_named_and_the_others_go_on(tmp_path) -> None:
    """The second net's films are huge in the second stage: it stays as the first has made it, even in the third."""

    def one_bad(stage: int, count: int) -> Data:
        data = own_films(stage, count)
        return data._replace(
            u=data.u * torch.tensor([1.0, 1e200 if stage == 1 else 1.0], dtype=torch.float64).reshape(-1, 1, 1, 1, 1, 1)
        )

    both, good, first = several(3, 4), several(3, 4), several(3, 4)
    with pytest.warns(
        StabilityWarning, match=r"nets \[1\] blow up within 2 steps\. They are left as 1 blocks have made"
    ):
        history = blockwise(both, one_bad, (1, 2, 3), 5, progress=False)
    blockwise(good, own_films, (1, 2, 3), 5, progress=False)
    blockwise(first, own_films, (1,), 5, progress=False)
    assert torch.allclose(parameters(both, 0), parameters(good, 0), rtol=1e-7, atol=1e-10)
    assert torch.allclose(parameters(both, 1), parameters(first, 1), rtol=1e-7, atol=1e-10)
    assert [h.loss[1] < torch.inf for h in history] == [True, False, False]

    def cut(stage: int, count: int) -> Data:
        if stage == 2:
            raise KeyboardInterrupt
        return one_bad(stage, count)

    again, file = several(5, 6), tmp_path / "cut.pt"
    with pytest.warns(StabilityWarning), pytest.raises(KeyboardInterrupt):
        blockwise(several(3, 4), cut, (1, 2, 3), 5, checkpoint=file, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        blockwise(again, one_bad, (1, 2, 3), 5, checkpoint=file, progress=False)
    assert same(state(again), state(both))

    huge = lambda stage, count: own_films(0, 2)._replace(u=own_films(0, 2).u * 1e200)  # noqa: E731
    with pytest.warns(StabilityWarning, match=r"nets \[0, 1\] blow up within 1 steps\. They are left as they came"):
        assert blockwise(several(3, 4), huge, (1, 2), 5, progress=False) == []


def test_nets_may_share_their_films_and_other_numbers_of_films_are_refused() -> None:
    shared, repeated = several(3, 4), several(3, 4)
    blockwise(shared, lambda stage, count: films()._replace(u=films().u[None]), (1,), 5, progress=False)
    blockwise(
        repeated,
        lambda stage, count: films()._replace(u=films().u.expand(2, -1, -1, -1, -1, -1)),
        (1,),
        5,
        progress=False,
    )
    assert torch.allclose(parameters(shared), parameters(repeated), rtol=1e-9)
    with pytest.raises(ValueError, match=r"Each of 2 nets has its own films.*got shape \(3, 4, 1, 16, 16\).*u\[None\]"):
        blockwise(several(3, 4), lambda stage, count: films(), (1,), 5, progress=False)
    with pytest.raises(ValueError, match=r"got shape \(3, 3, 4, 1, 16, 16\)"):
        blockwise(
            several(3, 4),
            lambda stage, count: films()._replace(u=films().u.expand(3, 3, -1, -1, -1, -1)),
            (1,),
            5,
            progress=False,
        )


# ---- what it takes, and what it does not ----


def test_another_loss_is_taken() -> None:
    calls = []

    def last_frame(net: Any, u: torch.Tensor, dt: float, sparsity: float, moments: float) -> torch.Tensor:
        calls.append((u.shape[1], sparsity))
        return (net(u[:, 0], u.shape[1] - 1) - u[:, -1]).square().mean()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (stage,) = blockwise(
            net(), lambda stage, count: films(), (2,), 5, loss=last_frame, sparsity=0.1, progress=False
        )
    assert set(calls) == {(3, 0.1)} and stage.loss < 1e-2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"blocks": ()}, "schedule"),
        ({"blocks": (0, -1)}, "schedule"),
        ({"iterations": 0}, "one iteration"),
        ({"blocks": (4,)}, "at most 3 blocks"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(change: dict[str, Any], match: str) -> None:
    settings = {"blocks": (0, 1), "iterations": 5} | change
    with pytest.raises(ValueError, match=match):
        blockwise(net(), lambda stage, count: films(), **settings, progress=False)


def test_data_of_another_step_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dt=0\.02 for the data"):
        blockwise(net(), lambda stage, count: films()._replace(dt=0.02), (1,), 5, progress=False)
    with pytest.raises(ValueError, match="of the filters"):
        blockwise(net(), lambda stage, count: films()._replace(h=0.1), (1,), 5, progress=False)
