"""What is kept on disk: the same to the last bit, of the same arguments and sources only, whole or not at all."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from companion.lab import cache
from companion.lab.cache import cached, folder, key
from companion.lab.pde_data import frames, trajectories
from companion.lab.pdes import Burgers, Heat

ROOT = Path(__file__).resolve().parents[1]
calls: list[tuple[object, ...]] = []


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path / "kept"))
    calls.clear()
    cache._say.cache_clear()
    return tmp_path / "kept"


def squares(n: int, scale: float = 1.0) -> Tensor:
    calls.append((n, scale))
    return scale * torch.arange(n, dtype=torch.float64).sqrt()


def files(home: Path) -> list[Path]:
    return sorted(home.iterdir())


def test_computed_once_and_the_same_to_the_last_bit(home: Path):
    first, second = cached(squares)(5, 0.1), cached(squares)(5, scale=0.1)
    assert calls == [(5, 0.1)]
    assert torch.equal(first, second) and first.dtype == second.dtype and first.stride() == second.stride()
    assert torch.equal(first, squares(5, 0.1))
    second += 1  # the caller's own
    assert torch.equal(cached(squares)(5, 0.1), first)
    assert [path.suffix for path in files(home)] == [".pt"]


def test_other_arguments_are_computed():
    for n, scale in ((5, 1.0), (6, 1.0), (5, 2.0), (5, np.nextafter(1.0, 2.0).item())):
        assert torch.equal(cached(squares)(n, scale), scale * torch.arange(n, dtype=torch.float64).sqrt())
    assert len(calls) == 4


def test_a_tuple_and_a_dictionary_are_kept():
    def both(n: int) -> tuple[Tensor, dict[str, Tensor]]:
        calls.append((n,))
        return torch.zeros(n), {"one": torch.ones(n, dtype=torch.int64)}

    for _ in range(2):
        zeros, named = cached(both)(3)
        assert zeros.tolist() == [0.0] * 3 and named["one"].tolist() == [1] * 3
    assert len(calls) == 1


class Pair(NamedTuple):
    a: float
    b: Tensor


def of(x: object) -> Tensor:
    return torch.zeros(1)


def test_different_values_have_different_keys():
    net, other, same = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    same.load_state_dict(net.state_dict())
    one, half = torch.ones(2), torch.ones(2, dtype=torch.float16)
    values = [
        *(None, True, 1, 1.0, "1", b"1", 1j, (1,), [1], {"a": 1}, {"b": 1}, (1, (2,)), ((1, 2),), ((1,), 2)),
        *(one, one[None], half, one.double(), one.numpy(), 2 * one, Pair(1.0, one), Pair(1.0, 2 * one)),
        *(net, other, Burgers(), Burgers(0.1), Heat(0.05), Burgers, Heat, squares, of, nn.Tanh(), nn.ReLU()),
        *(nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
    ]
    keys = [key(of, x) for x in values]
    assert None not in keys
    assert len(set(keys)) == len(values)
    assert key(of, same) == key(of, net)
    assert key(of, np.float64(1.0)) == key(of, 1.0)
    assert key(of, {"a": 1, "b": 2}) == key(of, {"b": 2, "a": 1})


def test_functions_differ_by_what_they_enclose():
    def times(n: int):
        return lambda x: n * x

    assert key(of, times(2)) != key(of, times(3))
    assert key(of, times(2)) == key(of, times(2))


def test_what_cannot_be_identified():
    with pytest.raises(TypeError, match=r"got generator\. Call the function itself, without cached\."):
        cached(of)(i for i in range(3))
    namespace = {"__name__": "__main__"}
    exec("class Typed:\n    pass", namespace)  # no source code
    assert key(of, namespace["Typed"]) is None
    assert cached(of)(namespace["Typed"]).tolist() == [0.0]


def test_the_key_changes_with_the_sources_and_the_versions(monkeypatch: pytest.MonkeyPatch):
    arguments = (Burgers(), 2, 1, 32, 16, 0.01, 0.0, 1.0, 0)
    before = key(trajectories, *arguments)
    assert key(trajectories, *arguments) == before
    read = {path.name: path for path in cache._closure(frozenset({"companion.lab.pde_data"}))}
    assert {"pde_data.py", "pde_solvers.py", "pde_grid.py", "pdes.py", "schemes.py", "dynamics.py"} <= read.keys()
    assert "train.py" not in read
    text = cache._text
    for name in ("pde_solvers.py", "schemes.py", "dynamics.py"):
        monkeypatch.setattr(cache, "_text", lambda path, name=name: text(path) + "#" * (path.name == name))
        assert key(trajectories, *arguments) != before, name
    monkeypatch.setattr(cache, "_text", lambda path: text(path) + "#" * (path.name == "train.py"))
    assert key(trajectories, *arguments) == before
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert key(trajectories, *arguments) != before


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:32],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"more",
        lambda content: content[:400] + bytes([content[400] ^ 1]) + content[401:],
        lambda content: b"\0" * len(content),
        lambda content: b"something else entirely",
    ],
)
def test_a_damaged_file_is_computed_again(home: Path, damage):
    first = cached(squares)(100)
    (path,) = files(home)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert torch.equal(cached(squares)(100), first)
    assert len(calls) == 2
    assert path.read_bytes() == whole
    cached(squares)(100)
    assert len(calls) == 2


def test_an_interrupted_function_leaves_nothing(home: Path):
    def stopped(n: int) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(stopped)(1)
    assert not home.exists()


def test_an_interrupted_write_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(source: str, target: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached(squares)(3)
    assert files(home) == []


def test_a_file_appears_whole(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Until the last act nothing has the name under which it is sought."""
    replace, seen = os.replace, []

    def looked_at(source: str, target: str) -> None:
        assert not Path(target).exists()
        assert Path(source).parent == Path(target).parent  # one file system
        assert cache.read(Path(source)) is not None
        replace(source, target)
        seen.append(Path(target))

    monkeypatch.setattr(os, "replace", looked_at)
    cached(squares)(3)
    assert files(home) == seen


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("COMPANION_CACHE", str(blocked / "kept"))
    with pytest.warns(
        UserWarning, match=r"cannot be kept in .*kept \(.+\).*Set COMPANION_CACHE to a folder .* or to off\."
    ):
        assert torch.equal(cached(squares)(3), squares(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached(squares)(3)
        cached(squares)(4)
    assert len(calls) == 4


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder(home: Path):
    home.mkdir()
    home.chmod(0o500)
    with pytest.warns(UserWarning, match="cannot be kept"):
        cached(squares)(3)
    home.chmod(0o700)


def test_a_full_disk(home: Path, monkeypatch: pytest.MonkeyPatch):
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert torch.equal(cached(squares)(3), squares(3))
    assert files(home) == []


def test_where_results_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert folder() == tmp_path / "kept"
    for off in ("off", "OFF", "0", "no", "", " "):
        monkeypatch.setenv("COMPANION_CACHE", off)
        assert folder() is None
        cached(squares)(3)
    assert len(calls) == 6
    monkeypatch.delenv("COMPANION_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder() == tmp_path / "xdg" / "companion"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the standard
    assert folder() == tmp_path / ".cache" / "companion"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert folder() == tmp_path / "Library" / "Caches" / "companion"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert folder() == tmp_path / "local" / "companion"
    monkeypatch.delenv("LOCALAPPDATA")
    assert folder() is None


def test_the_oldest_are_removed(home: Path, monkeypatch: pytest.MonkeyPatch):
    cached(squares)(1000)
    monkeypatch.setattr(cache, "LIMIT", int(3.5 * files(home)[0].stat().st_size))
    for n in range(1000, 1003):
        cached(squares)(n)
        os.utime(max(files(home), key=lambda path: path.stat().st_mtime_ns), (n, n))
    assert len(files(home)) == 3
    cached(squares)(1000)  # read: no longer the oldest
    left = home / "squares-killed.part"
    left.write_bytes(b"of a run that was killed")
    os.utime(left, (1, 1))
    cached(squares)(1003)
    assert len(files(home)) == 3 and not left.exists()
    calls.clear()
    cached(squares)(1000), cached(squares)(1002), cached(squares)(1003)
    assert calls == []


def test_processes_side_by_side(home: Path):
    """Two at a time write and read the same: nobody fails, all have the same numbers."""
    code = (
        "import torch\n"
        "from companion.lab.pde_data import frames\n"
        "from companion.lab.pdes import Heat\n"
        "for seed in range(12):\n"
        "    data = frames(Heat(), n=2, steps=2, grid=16, coarse=8, seed=seed % 3)\n"
        "print(float(data.u.sum()).hex())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen([sys.executable, "-W", "error::UserWarning", "-c", code], cwd=ROOT, env=environment, stdout=-1)
        for _ in range(2)
    ]
    said = {run.communicate()[0] for run in runs}
    assert [run.returncode for run in runs] == [0] * 2
    expected = frames(Heat(), n=2, steps=2, grid=16, coarse=8, seed=2, cache=False)
    assert said == {(float(expected.u.sum()).hex() + "\n").encode()}
    assert len(files(home)) == 3


def test_frames_from_the_disk_are_the_frames(home: Path, monkeypatch: pytest.MonkeyPatch):
    options = {"n": 2, "steps": 2, "grid": 32, "coarse": 16, "start_time": 0.0, "seed": 4}
    first = frames(Burgers(), **options)
    fresh = frames(Burgers(), cache=False, **options)
    monkeypatch.setattr("companion.lab.pde_data.solve", None)  # not needed any more
    second = frames(Burgers(), **options)
    other_noise = frames(Burgers(), noise=0.0, **options)
    assert torch.equal(first.u, second.u) and torch.equal(first.u, fresh.u)
    assert first.u.stride() == second.u.stride()
    assert other_noise.noise == 0.0 and not torch.equal(other_noise.u, first.u)
    assert len(files(home)) == 1
