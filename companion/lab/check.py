"""What a lesson asserts, and what it says to a learner's answer.

`claim` is for the lesson: a statement of the text, measured, with its bound; it fails loudly. `exercise` is for the
learner: it turns a *diagnosis*, a function `answer -> None | str` (None for right, else one sentence on what is
wrong), into a check that prints "not yet", "right" or the diagnosis, gives hints when asked, and never raises.
Diagnoses are made of the parts in `diagnose.py`.

    @exercise(hints=["Which sign does the index of the adjoint have?"], expects=Callable)
    def check_adjoint(WT):
        gap = adjoint_gap(W, WT, u)
        return None if gap < 1e-12 else f"your filter is flipped: <Wu, d> - <u, W'd> = {gap:.2g}"

    check_adjoint(...)                 # ○ not yet: replace the ... and run the cell again
    check_adjoint(my_adjoint, hint=1)  # the same check, and the first hint

Notebook: all, in the cells tagged `claim` and `exercise`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from companion.lab.diagnose import described, kind
from companion.lab.machine import trim
from companion.lab.show import number


def claim(
    paper: str,
    statement: str,
    measured: Any,
    bound: Any = None,
    *,
    relation: str = "<=",
    between: tuple[Any, Any] | None = None,
) -> None:
    """measured <= bound, or >=, or ==, or a <= measured <= b: assert a statement of the lesson, print one line.

    paper     the number in the paper, such as "(2.2)" or "Ex 2.1"
    measured  a number, truth value or 0-dimensional tensor; NaN fulfils no claim
    relation  "<=", ">=" or "=="; equality is for whole numbers and truth values, real ones need a tolerance
    between   (a, b), in place of a bound

    Raises AssertionError with the same line where the claim is false.

    >>> claim("(2.3)", "W^T W u = u, relative error", 2.2e-16, 1e-12)
    (2.3)     W^T W u = u, relative error                                   2.2e-16 <= 1e-12      ✓
    """
    trim()
    value = _scalar(measured)
    if (bound is None) == (between is None):
        raise ValueError(
            "A claim compares the measured value with a bound, or with between=(a, b): give exactly one of them."
        )
    if between is not None:
        low, high = (_scalar(end) for end in between)
        holds, target = low <= value <= high, f"in [{_digits(low)}, {_digits(high)}]"
    else:
        limit = _scalar(bound)
        if relation == "==" and (isinstance(value, float) or isinstance(limit, float)):
            raise ValueError("Equality of real numbers depends on rounding: claim |a - b| <= a tolerance instead.")
        tests = {"<=": lambda: value <= limit, ">=": lambda: value >= limit, "==": lambda: value == limit}
        if relation not in tests:
            raise ValueError(f"A claim's relation is one of <=, >=, ==; got '{relation}'.")
        holds, target = bool(tests[relation]()), f"{relation} {_digits(limit)}"
    line = f"{paper:<9} {statement:<58} {_digits(value):>9} {target:<13}"
    assert holds, f"✗ claim not fulfilled: {paper} {statement}: measured {_digits(value)}, claimed {target}"
    print(f"{line} ✓")


class Verdict(NamedTuple):
    """What a check thinks of an answer: state is "not yet", "right" or "wrong"; words is the diagnosis."""

    state: str
    words: str


class Exercise:
    """A check: call it with an answer, and hint=k for the first k hints. It prints, returns None and never raises."""

    def __init__(
        self, diagnose: Callable[[Any], str | None], hints: Sequence[str], title: str, praise: str, expects: Any
    ):
        self.diagnose, self.hints, self.title, self.praise, self.expects = (
            diagnose,
            tuple(hints),
            title,
            praise,
            expects,
        )
        functools.update_wrapper(self, diagnose)

    def __repr__(self) -> str:
        return f"{self.title or 'Exercise'}: a check with {len(self.hints)} hints"

    def verdict(self, answer: Any = ...) -> Verdict:
        """The verdict on an answer, without printing."""
        not_yet = Verdict("not yet", "replace the ... and run the cell again")
        if _untouched(answer):
            return not_yet
        if self.expects is not None and not isinstance(answer, self.expects):
            return Verdict("wrong", f"the answer is {kind(self.expects)}, and this is {described(answer)}")
        try:
            words = self.diagnose(_watched(answer))
        except _NotYet:
            return not_yet
        except _Raised as raised:
            return Verdict("wrong", str(raised))
        except Exception as error:
            words = f"an answer like this one, {described(answer)}, leads to {_error(error)}"
            return not_yet if _of_ellipsis(error) else Verdict("wrong", words)
        return Verdict("right", self.praise) if words is None else Verdict("wrong", str(words))

    def __call__(self, answer: Any = ..., hint: Any = 0) -> None:
        trim()
        state, words = self.verdict(answer)
        if state == "not yet":
            print(f"○ {self.title + ', ' if self.title else ''}not yet: {words}")
        else:
            print(f"{'✓' if state == 'right' else '✗'} {self.title + ': ' if self.title else ''}{words}")
        n = len(self.hints)
        if state == "right" or not n:
            return
        asked = min(max(hint, 0), n) if isinstance(hint, int) else 0
        for k in range(asked):
            print(f"  hint {k + 1} of {n}: {self.hints[k]}")
        if asked < n and (asked or state == "wrong"):
            print(f"  {'next ' * bool(asked)}hint available: run the cell with hint={asked + 1} (of {n})")


def exercise(
    *, hints: Sequence[str] = (), title: str = "", praise: str = "right", expects: Any = None
) -> Callable[[Callable[[Any], str | None]], Exercise]:
    """Make a check of a diagnosis, a function answer -> None (right) or a sentence (what is wrong).

    hints    from a nudge to nearly the solution
    title    stands before every verdict
    praise   one line for a right answer: what it shows, or where it is used next
    expects  the type of a right answer (Tensor, Callable, a tuple of types ...); another one is named in words

    A function among the answers is watched: whatever it raises becomes a sentence with the shape of the input, and one
    that gives back ... or None counts as untouched.
    """
    return lambda diagnose: Exercise(diagnose, hints, title, praise, expects)


class _NotYet(BaseException):
    """A function of the learner gave back ... or None. No Exception, so a diagnosis that catches those lets it pass."""


class _Raised(BaseException):
    """A function of the learner raised an exception; the text says which and for what input."""


def _untouched(answer: Any, depth: int = 0) -> bool:
    """True for ..., None, "..." and containers that hold one of ... or "..."."""
    if (
        answer is ...
        or (answer is None and depth == 0)
        or (isinstance(answer, str) and answer.strip() in ("", "...", "…"))
    ):
        return True
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, np.ndarray) and answer.dtype == object:
        answer = answer.ravel().tolist()
    return (
        isinstance(answer, (list, tuple, set, frozenset))
        and depth < 5
        and any(_untouched(a, depth + 1) for a in answer)
    )


def _watched(answer: Any) -> Any:
    """The answer, its functions replaced by ones that report what goes wrong inside them."""
    if type(answer) in (list, tuple):
        return type(answer)(map(_watched, answer))
    if type(answer) is dict:
        return {key: _watched(value) for key, value in answer.items()}
    if not (inspect.isroutine(answer) or isinstance(answer, functools.partial)):
        return answer

    @functools.wraps(answer)
    def watched(*args: Any, **options: Any) -> Any:
        try:
            result = answer(*args, **options)
        except Exception as error:
            if _of_ellipsis(error):
                raise _NotYet from error
            inputs = " and ".join(map(described, [*args, *options.values()])) or "no input"
            shapes = [v for v in args if isinstance(v, Tensor)]
            if len(shapes) == len(args) == 1 and not options:
                inputs = f"an input of shape {tuple(shapes[0].shape)}"
            raise _Raised(f"your function raised {_error(error)} for {inputs}") from error
        if _untouched(result):
            raise _NotYet
        return result

    return watched


def _of_ellipsis(error: Exception) -> bool:
    """True where the exception comes of computing with a ... that still stands in the code."""
    return "ellipsis" in str(error).lower()


def _error(error: Exception) -> str:
    """Type and message in one line of at most about two hundred letters."""
    words = " ".join(str(error).split())
    return type(error).__name__ + (f": {words[:197] + '...' if len(words) > 200 else words}" if words else "")


def _scalar(value: Any) -> bool | int | float:
    """A number or truth value, out of whatever holds exactly one; TypeError in words for anything else."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)) and np.ndim(value) == 0:
        value = value.item()
    if not isinstance(value, (bool, int, float)):
        raise TypeError(
            f"A claim is about one real number or truth value; got {described(value)}. "
            "Reduce it, by max(), norm() or all()."
        )
    return value


def _digits(value: bool | int | float) -> str:
    """Three significant digits; rounding errors with two, and so an exact zero, which another processor may miss."""
    return f"{value:.1e}" if isinstance(value, float) and abs(value) < 1e-12 else number(value, 3)
