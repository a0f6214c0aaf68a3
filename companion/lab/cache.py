r"""f(x) once: what a slow function of its arguments has computed is kept on disk and read the next time.

    u = cached(trajectories)(equation, n=8, steps=15, seed=0)

The file's name is a hash of all that the result depends on: the arguments, the source code of the function with
everything of this package that it imports, and the versions of torch and numpy. So nothing has to be declared stale:
after a change of the code the name is another one. The function must depend on nothing else.

A file is written beside its place and moved there whole, so that an interrupted run, or two at a time, leave no half
one; it begins with the hash of its content, and one that does not fit is computed again. A folder that cannot be
written is said once, and the results are then not kept.

    COMPANION_CACHE=/some/folder     where to keep them; off, or nothing after the sign: nowhere
    LIMIT                            bytes in all; beyond, the files that were not read for longest are removed

By default the folder is `companion` in that of the user's caches: $XDG_CACHE_HOME or ~/.cache, ~/Library/Caches on a
Mac, %LOCALAPPDATA% on Windows. Nothing is downloaded, and the folder may be removed at any time.

Notebooks: 12, 13.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import inspect
import io
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LIMIT = 2**30
SWITCH = "COMPANION_CACHE"
OWN = __name__.split(".")[0]
BUILTIN = {*sys.stdlib_module_names, "torch", "numpy", "jaxtyping"}


def cached(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which keeps on disk what it returns: a tensor, or a tuple, list or dictionary of tensors.

    The arguments are numbers, texts, tensors, arrays, modules, functions and classes, or tuples, lists and dictionaries
    of them. What has no source code (a class typed into a plain Python prompt) is not kept.
    """

    @functools.wraps(function)
    def remembering(*args: Any, **kwargs: Any) -> Any:
        home = folder()
        name = None if home is None else key(function, *args, **kwargs)
        if home is None or name is None:
            return function(*args, **kwargs)
        path = home / f"{function.__name__}-{name}.pt"
        kept = read(path)
        if kept is None:
            kept = (function(*args, **kwargs),)
            write(path, kept)
        return kept[0]

    return remembering


def folder() -> Path | None:
    """Where results are kept; None where they are not."""
    chosen = os.environ.get(SWITCH)
    if chosen is not None:
        return Path(chosen).expanduser() if chosen.strip().lower() not in ("", "0", "off", "no") else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else "~/.cache"
    try:
        return Path(base).expanduser() / "companion" if base else None
    except RuntimeError:  # no home
        return None


# ---- what a result depends on ----------------------------------------------------------------------------------------


def key(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str | None:
    """The hash of arguments, sources and versions; None where an argument has no source code.

    Raises TypeError for an argument that is none of those `cached` names.
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    code: set[str] = set()  # modules of this package, and the text of what was defined elsewhere
    try:
        told = [*_told(function, code), *_told(dict(bound.arguments), code)]
    except OSError:
        return None
    h = hashlib.sha256()
    modules = {name for name in code if name.partition(".")[0] == OWN and "\n" not in name}
    versions = f"{torch.__version__} {np.__version__}"
    for text in (versions, *sorted(code - modules), *(_text(path) for path in sorted(_closure(frozenset(modules))))):
        h.update(hashlib.sha256(text.encode()).digest())
    for part in told:
        h.update(hashlib.sha256(part).digest())
    return h.hexdigest()[:40]


def _told(x: Any, code: set[str]) -> Iterator[bytes]:
    """What x is, as bytes that no other value has; the sources it depends on are added to `code`."""
    if isinstance(x, np.generic):
        x = x.item()
    if x is None or isinstance(x, bool | int | float | complex | str | bytes):
        yield f"{type(x).__name__} {x!r}".encode()
    elif isinstance(x, Tensor | np.ndarray):
        a = x.detach().cpu().contiguous() if isinstance(x, Tensor) else torch.from_numpy(np.ascontiguousarray(x))
        yield f"{type(x).__name__} {a.dtype} {tuple(a.shape)} {getattr(x, 'device', '')}".encode()
        yield a.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(x, Mapping):
        yield f"mapping {len(x)}".encode()
        for name in sorted(x, key=repr):
            yield from _told(name, code)
            yield from _told(x[name], code)
    elif isinstance(x, tuple | list):
        yield f"{type(x).__name__} {len(x)}".encode()
        for part in x:
            yield from _told(part, code)
    elif isinstance(x, type) or inspect.isfunction(x):
        x = inspect.unwrap(x)
        yield f"{x.__module__}.{x.__qualname__}".encode()
        for part in x.__mro__ if isinstance(x, type) else (x,):
            root = part.__module__.partition(".")[0]
            if root == OWN:
                code.add(part.__module__)
            elif root not in BUILTIN or root == "__main__":
                code.add(inspect.getsource(part) + "\n")
        for cell in getattr(x, "__closure__", None) or ():
            yield from _told(cell.cell_contents, code)
        yield from _told(getattr(x, "__defaults__", None), code)
    elif isinstance(x, nn.Module):
        yield from _told(type(x), code)
        yield from _told(x.state_dict(), code)
        yield from _told({k: v for k, v in vars(x).items() if not k.startswith("_")}, code)
        yield from _told(dict(x.named_children()), code)
    else:
        raise TypeError(
            "A result is kept under the hash of the arguments: numbers, texts, tensors, modules, functions, or tuples, "
            f"lists and dictionaries of them; got {type(x).__name__}. Call the function itself, without cached."
        )


@functools.lru_cache(maxsize=32)
def _closure(modules: frozenset[str]) -> frozenset[Path]:
    """The files of some modules of this package and of all of its modules that they import, directly or not."""
    files: dict[str, Path] = {}
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        with contextlib.suppress(ModuleNotFoundError):
            spec = importlib.util.find_spec(name) if name not in files else None
            if spec is not None and spec.origin:
                files[name] = Path(spec.origin)
                waiting += _imported(files[name])
    return frozenset(files.values())


def _imported(file: Path) -> Iterable[str]:
    """The modules of this package that a file names in its imports (`from package import x`: x may be one)."""
    for node in ast.walk(ast.parse(_text(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == OWN)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == OWN and not node.level:
            yield from (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))


@functools.lru_cache(maxsize=256)
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


# ---- the files -------------------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[Any] | None:
    """(result,) as it was kept; None if there is none, or one that is cut or damaged."""
    try:
        content = path.read_bytes()
        if content[:32] != hashlib.sha256(content[32:]).digest():
            return None
        kept = torch.load(io.BytesIO(content[32:]), weights_only=True)
        os.utime(path)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError):
        return None
    return kept


def write(path: Path, kept: tuple[Any]) -> None:
    """Keep (result,), whole or not at all; warns once for a folder that cannot be written."""
    payload = io.BytesIO()
    torch.save(kept, payload)
    content = payload.getvalue()
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            part = file.name
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(part, path)
        _prune(path.parent)
    except OSError as error:
        _say(str(path.parent), error.strerror or str(error))
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)


def _prune(home: Path) -> None:
    """Remove what was not read for longest until at most LIMIT bytes are left; the last file stays."""
    with contextlib.suppress(OSError):
        files = sorted(((s.st_mtime, s.st_size, p) for p in home.glob("*-*.pt") for s in [p.stat()]), reverse=True)
        total = 0
        for i, (_, size, path) in enumerate(files):
            total += size
            if i and total > LIMIT:
                path.unlink(missing_ok=True)
        for path in home.glob("*.part"):  # of a run that was killed
            if time.time() - path.stat().st_mtime > 86400:
                path.unlink(missing_ok=True)


@functools.lru_cache(maxsize=8)
def _say(home: str, why: str) -> None:
    """Said once for a folder."""
    warnings.warn(
        f"Results cannot be kept in {home} ({why}); they are computed each time. Set {SWITCH} to a folder that can be "
        "written, or to off.",
        UserWarning,
        stacklevel=5,
    )
