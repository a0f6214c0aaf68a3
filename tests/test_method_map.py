"""Every method that the paper names has a lesson, an object and a test; and whoever takes one away is told."""

import re

import pytest

from tests.paper_methods import (
    IN_PASSING,
    METHODS,
    OPEN_METHODS,
    Method,
    documented,
    named_tests,
    names_of_companion,
    problems,
    section,
    tree_of,
)
from tests.test_paper_map import ITEMS, MAP

PDHG = next(method for method in METHODS if "flows.splitting.PDHG" in method.objects)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_it_is_in_a_lesson_an_object_and_a_test(method: Method) -> None:
    assert problems([method]) == []


def test_no_method_is_open() -> None:
    assert OPEN_METHODS == ()


def test_no_method_is_named_twice() -> None:
    names = [method.name for method in METHODS] + [mention.name for mention in IN_PASSING]
    assert len(names) == len(set(names))


def test_the_methods_follow_the_paper() -> None:
    """Each stands in one of the sections that name it, not before the section of the one above."""
    here = "1"
    for method in METHODS:
        later = [part for part in re.findall(r"[1-5](?:\.\d)?", method.paper.split("[")[0]) if part >= here]
        assert later, f"{method.name} ({method.paper}) stands below a method of Section {here}"
        here = min(later)


def test_what_is_named_in_passing_has_its_words_and_a_reason() -> None:
    for mention in IN_PASSING:
        assert all(part.strip() for part in mention), mention.name
        assert mention.paper in {"1", "2", "3", "4", "4.1", "4.2", "4.3", "5", "5.1", "5.2"}


def test_the_page_has_both_tables() -> None:
    page = MAP.read_text(encoding="utf-8")
    assert "\n".join(section()) in page and all(f"| {item} |" in page for item in ITEMS)
    assert len([line for line in section() if line.startswith("| ")]) == len(METHODS) + len(IN_PASSING) + 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objects": ("flows.splitting.Chambolle",)}, "companion.flows.splitting.Chambolle is no documented public"),
        ({"objects": ("flows.solvers.PDHG",)}, "companion.flows.solvers.PDHG is no documented public object"),
        ({"objects": ("flows.bregman.PDHG",)}, "no documented public object"),
        ({"objects": ("flows.nowhere.PDHG",)}, "no documented public object"),
        ({"objects": ("lab.check.claim", "flows.splitting.PDHG")}, "companion.lab.check.claim is no documented"),
        ({"objects": ("flows.solvers.FISTA",)}, "PDHG is none of its objects"),
        ({"objects": ()}, "an object and a test are asked for"),
        ({"tests": ("test_solvers.test_that_nobody_wrote",)}, "there is no test test_solvers.test_that_nobody_wrote"),
        ({"tests": ("test_of_nothing.test_admm_and_pdhg_agree_on_25",)}, "there is no test test_of_nothing"),
        ({"tests": ("test_radon.test_columns_and_rows",)}, "test_radon.test_columns_and_rows uses none of PDHG"),
        ({"tests": ()}, "an object and a test are asked for"),
        ({"lesson": "99 PDHG"}, "there is no lesson 99"),
        ({"lesson": "03 PDHG"}, "no code cell of lesson 03 uses PDHG"),
        ({"lesson": "04 claim: no such words"}, "no claim of lesson 04 has the words 'no such words'"),
    ],
)
def test_a_planted_defect_is_found(change: dict, said: str) -> None:
    assert problems([PDHG]) == []
    found = problems([PDHG._replace(**change)])
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("from companion import PDHG  # PDHG\n'PDHG'", set()),
        ("%matplotlib inline\nfrom companion import PDHG, run as go\ngo(PDHG)", {"PDHG", "go"}),
        ("import companion as co\nco.PDHG(problem)", {"PDHG"}),
        ("def PDHG(x):\n    return x\nPDHG(1)", set()),
        ("from somewhere import PDHG\nPDHG(1)", set()),
        ("A.svd(u)", {"svd"}),
    ],
)
def test_only_what_code_takes_from_the_package_is_used(code: str, used: set[str]) -> None:
    """Prose, strings, imports alone and a lesson's own names do not count."""
    assert names_of_companion([tree_of(code)]) == used


def test_the_names_of_a_test_are_those_of_its_code() -> None:
    uses = named_tests("test_method_map")["test_a_planted_defect_is_found"]
    assert {"PDHG", "problems"} <= uses and "FISTA" not in uses  # a string


def test_what_is_a_documented_public_object() -> None:
    assert documented("flows.splitting.PDHG") and documented("operators.linear.LinearOperator.svd")
    assert documented("nets.interpolation.condat_kernels")
    assert not documented("operators.cascade.GradientCascade.forward")  # without a docstring
    assert not documented("nets.variants.Scheme")  # imported there, defined elsewhere
    assert not documented("flows.splitting") and not documented("lab.check.claim")
