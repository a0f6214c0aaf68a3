"""What an exercise's check says of an answer, for the tests of the lessons."""

from collections.abc import Callable


def says(check: Callable, answer: object) -> str:
    """The diagnosis of a wrong answer; "right" or "not yet" of another."""
    state, words = check.verdict(answer)
    return words if state == "wrong" else state
