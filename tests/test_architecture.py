"""The arrows point downwards, each file is read in one sitting, and `import companion` is light.

    dynamics  <-  kernels  <-  operators  <-  energies  <-  flows  <-  nets  <-  lab

A file may import from its own floor and from the floors below it; everything may import `dynamics`, nothing imports
`lab`, and `lab`, like a lesson, may import the vocabulary: `from companion import run`. Everything here is read off the
sources, imports inside functions included, so that no order of imports hides a wrong arrow.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import companion

PACKAGE = Path(companion.__file__).parent
FLOORS = ("dynamics", "kernels", "operators", "energies", "flows", "nets", "lab")
LINES = 250  # the rule: a file is read in one sitting, half of it docstring
TOLERANCE = 10  # a sentence more is better than a sentence crammed
AT_THE_TOP = {"torch", "numpy", "jaxtyping"}  # what a file below lab may import when it is imported
# ... and inside a function, when it is called
ON_DEMAND = AT_THE_TOP | {"llvmlite", "numba", "scipy", "sympy", "torchdiffeq", "tqdm"}
HEAVY = ("IPython", "ipywidgets", "matplotlib", "numba", "pywt", "scipy", "skimage", "sklearn", "sympy", "triton")
HEAVY += ("companion.lab",)
ALGEBRA = {"Adjoint", "Composition", "Sum", "Multiple"}  # written A.T, A @ B, A + B, c * A
# methods whose docstring is the class's formula
INHERITED = {"forward", "adjoint", "T", "level", "extra_repr", "restrict", "grad", "prox", "lipschitz", "conjugate"}
INHERITED |= {"R"}
SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {file: ast.parse(path.read_text(encoding="utf-8")) for file, path in SOURCES.items()}

each_file = pytest.mark.parametrize("file", SOURCES)


def floor(module: str) -> str:
    """dynamics, operators, ...; "companion" for the package itself, which is its table of contents."""
    parts = module.removesuffix(".py").replace("/", ".").removeprefix("companion").strip(".").split(".")
    return parts[0] if parts[0] not in ("", "__init__") else "companion"


def imports(tree: ast.Module, file: str) -> Iterator[tuple[str, bool]]:
    """(module, inside a function) for every import of a file, `from . import x` made absolute."""
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    package = ["companion", *Path(file).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *filter(None, [node.module])])
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem.startswith("companion") else [stem]
        else:
            continue
        for name in names:
            yield name, id(node) in inside


def below_lab(file: str) -> bool:
    return floor(file) != "lab"


@each_file
def test_arrows_point_downwards(file: str) -> None:
    here = floor(file)
    if here == "companion":
        assert not [m for m, _ in imports(TREES[file], file) if floor(m) == "lab" and m.startswith("companion")]
        return
    for module, _ in imports(TREES[file], file):
        if not module.startswith("companion"):
            continue
        there = floor(module)
        if there in FLOORS:
            assert FLOORS.index(there) <= FLOORS.index(here), f"{file} ({here}) imports {module} ({there}): upwards"
        else:
            assert here == "lab", f"{file} imports {module}: below lab, import the file that defines it"


def test_the_floors_are_those_of_the_package() -> None:
    assert {floor(file) for file in SOURCES} <= {*FLOORS, "companion"}, "a new floor needs its place in FLOORS"


def test_no_circle_of_imports() -> None:
    modules = {
        f"companion.{file.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__"): file for file in SOURCES
    }
    graph = {
        name: {
            target
            for imported, _ in imports(TREES[file], file)
            for target in (imported, imported.rpartition(".")[0])
            if target in modules and target != name and target.count(".") > 0
        }
        for name, file in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@each_file
def test_below_lab_only_numbers(file: str) -> None:
    """No plotting, no widgets, no pictures below lab; what is slow to import is imported where it is used."""
    if not below_lab(file):
        return
    for module, in_function in imports(TREES[file], file):
        root = module.split(".")[0]
        if root in sys.stdlib_module_names or root == "companion":
            continue
        allowed = ON_DEMAND if in_function else AT_THE_TOP
        where = "inside a function" if in_function else "at its top"
        assert root in allowed, f"{file} imports {module} {where}; allowed there: {', '.join(sorted(allowed))}"


def test_the_spine_needs_torch_only() -> None:
    roots = {(module.split(".")[0], inside) for module, inside in imports(TREES["dynamics.py"], "dynamics.py")}
    foreign = {(root, inside) for root, inside in roots if root not in sys.stdlib_module_names}
    assert foreign <= {("torch", False), ("tqdm", True)}


def test_import_is_light() -> None:
    code = f"import sys, companion; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], "`import companion` imports what only a lesson or a rare function needs"


@each_file
def test_a_file_is_read_in_one_sitting(file: str) -> None:
    lines = len(SOURCES[file].read_text(encoding="utf-8").splitlines())
    assert lines <= LINES + TOLERANCE, f"{file} has {lines} lines; the rule is {LINES}: split it by its ideas"


def documented(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """What a reader may call: the public functions and classes of a module, and the classes' own public methods."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                hidden = not isinstance(method, ast.FunctionDef) or method.name.startswith("_")
                if not hidden and method.name not in INHERITED:
                    yield f"{node.name}.{method.name}", method


@each_file
def test_what_is_public_is_documented(file: str) -> None:
    tree = TREES[file]
    if tree.body:
        assert ast.get_docstring(tree), f"{file} does not say what it is about"
    silent = [name for name, node in documented(tree) if not ast.get_docstring(node)]
    assert not silent, f"{file}: without a docstring: {', '.join(silent)}"


@each_file
def test_no_mutable_defaults(file: str) -> None:
    def mutable(node: ast.AST | None) -> bool:
        made = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("list", "dict", "set", "bytearray")
        return made or isinstance(node, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)

    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            assert not any(map(mutable, defaults)), f"{file}:{node.lineno} shares one default among all its calls"
        elif isinstance(node, ast.ClassDef):
            fields = [item.value for item in node.body if isinstance(item, ast.AnnAssign)]
            assert not any(map(mutable, fields)), f"{file}:{node.lineno} shares one default among all its objects"


@each_file
def test_users_meet_no_asserts(file: str) -> None:
    """`python -O` drops them and they say nothing; only a lesson's claim is an assertion."""
    if file == "lab/check.py":
        return
    for node in ast.walk(TREES[file]):
        name = getattr(node.exc, "func", node.exc) if isinstance(node, ast.Raise) else None
        found = isinstance(node, ast.Assert) or getattr(name, "id", "") == "AssertionError"
        assert not found, f"{file}:{getattr(node, 'lineno', 0)} asserts; raise a ValueError that says the rule"


def test_the_vocabulary_is_complete_and_sorted() -> None:
    imported = {
        alias.asname or alias.name
        for node in TREES["__init__.py"].body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(companion.__all__) == imported, "__all__ is what companion/__init__.py imports"
    assert companion.__all__ == sorted(companion.__all__)
    assert len(companion.__all__) == len(set(companion.__all__))


def test_every_operator_and_threshold_is_in_the_vocabulary() -> None:
    def family(base: type) -> set[type]:
        return {base}.union(*(family(sub) for sub in base.__subclasses__()))

    classes = {
        cls.__name__
        for base in (companion.LinearOperator, companion.Threshold)
        for cls in family(base)
        if cls.__module__.startswith("companion.") and not cls.__name__.startswith("_")
    }
    assert classes - ALGEBRA <= set(companion.__all__)
