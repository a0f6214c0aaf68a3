"""What is kept is what would be computed anew, whatever happened in between."""

import copy
import pickle

import pytest
import torch
from torch import nn

from companion import Blur, LeastSquares, gaussian_kernel
from companion.operators.kept import Kept


def counted(kept: Kept, f: torch.Tensor, **key: object) -> tuple[torch.Tensor, int]:
    """2 f through kept, and how often it was computed."""
    calls: list[int] = []
    value = kept(lambda: (calls.append(1), 2 * f)[1], f, **key)
    torch.testing.assert_close(value, 2 * f)
    return value, len(calls)


def test_computed_once_and_anew_where_something_changed() -> None:
    kept, f = Kept(), torch.rand(3)
    assert [counted(kept, f)[1] for _ in range(3)] == [1, 0, 0]
    f.mul_(2)
    assert [counted(kept, f)[1] for _ in range(2)] == [1, 0]
    assert counted(kept, f.clone())[1] == 1  # equal, but another tensor
    assert [counted(kept, f, key=n)[1] for n in (1, 1, 2)] == [1, 0, 1]
    value, _ = counted(kept, f, key=2)
    value.zero_()  # what a caller does to the value is not handed on
    assert counted(kept, f, key=2)[1] == 1


def test_nothing_is_kept_where_a_derivative_is_asked_for() -> None:
    kept, f = Kept(), torch.rand(3, requires_grad=True)
    for _ in range(2):
        value, calls = counted(kept, f)
        assert calls == 1 and value.requires_grad
    with torch.no_grad():
        assert [counted(kept, f)[1] for _ in range(2)] == [1, 0]
    assert counted(kept, f)[0].requires_grad
    with torch.inference_mode():
        counted(kept, torch.rand(3))
    g = torch.rand(3)
    with torch.inference_mode():
        counted(kept, g)
    assert not counted(kept, g)[0].is_inference()


def test_a_copy_begins_empty() -> None:
    kept, f = Kept(), torch.rand(3)
    counted(kept, f)
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert counted(other, f)[1] == 1
    assert counted(kept, f)[1] == 0


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
def test_data_and_blur_may_change_between_two_steps(boundary: str) -> None:
    """The prox of |A u - f|^2/2 after a change of f, of A's kernel, of the size and of the type."""
    A = Blur(gaussian_kernel(1.0).double(), boundary)
    E = LeastSquares(torch.rand(16, 16, dtype=torch.float64), A)

    def check(E: LeastSquares, v: torch.Tensor) -> None:
        fresh = LeastSquares(E.f.clone(), Blur(E.A.kernel.clone(), boundary))
        torch.testing.assert_close(E.prox(v, 0.7), fresh.prox(v, 0.7))
        torch.testing.assert_close(E.A(v), fresh.A(v))

    v = torch.rand(16, 16, dtype=torch.float64)
    check(E, v)
    E.f.mul_(3)
    check(E, v)
    E.A.kernel.copy_(E.A.kernel.flip(0) * torch.rand(1, dtype=torch.float64))
    check(E, v)
    E.f = torch.rand(2, 20, 24, dtype=torch.float64)
    check(E, torch.rand(2, 20, 24, dtype=torch.float64))
    E.float()
    check(E, torch.rand(2, 20, 24))
    E.A.kernel = nn.Parameter(E.A.kernel)
    E.prox(torch.rand(2, 20, 24), 0.7).sum().backward()
    assert E.A.kernel.grad is not None and bool(E.A.kernel.grad.abs().max() > 0)
