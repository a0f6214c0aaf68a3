"""The README: its table is the course's, its picture is there, its code runs, its badge can be pointed anywhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from companion.lab.course import LESSONS, table, written
from tools.badge import binder

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_the_courses() -> None:
    assert table() in README, "README.md: replace the table by companion.lab.course.table()"


def test_every_notebook_is_a_lesson() -> None:
    assert {lesson.notebook for lesson in written()} == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert [lesson.number for lesson in LESSONS] == list(range(16))


def test_links_and_picture_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert "docs/lesson.png" in links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_code_runs() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(code[1], names)
    from companion.lab import psnr

    u, f, restored = (names[name] for name in ("u", "f", "restored"))
    assert psnr(restored, u) > psnr(f, u) + 7  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("https://github.com/a/b.git", "gh/a/b"),
        ("git@github.com:a/b.git", "gh/a/b"),
        ("ssh://git@github.com/a/b", "gh/a/b"),
        ("https://gitlab.com/group/sub/b.git", "gl/group%2Fsub%2Fb"),
        ("https://git.example.org/a/b.git", "git/https%3A%2F%2Fgit.example.org%2Fa%2Fb.git"),
    ],
)
def test_the_badge_of_any_repository(address: str, place: str) -> None:
    assert binder(address) == f"https://mybinder.org/v2/{place}/HEAD?urlpath=lab/tree/notebooks/00_start_here.ipynb"


def test_make_badge_changes_one_line(tmp_path: Path) -> None:
    for name in ("README.md", "tools/badge.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for _ in range(2):  # a second call replaces the first's address
        subprocess.run([sys.executable, "tools/badge.py", "https://github.com/a/b"], cwd=tmp_path, check=True)
    old, new = README.splitlines(), (tmp_path / "README.md").read_text(encoding="utf-8").splitlines()
    changed = [line for line, before in zip(new, old, strict=True) if line != before]
    assert len(changed) <= 1 and "gh/a/b/HEAD" in "".join(new)
