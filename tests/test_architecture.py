"""Who may import whom, and what a bare `import prunelaws` costs."""

import ast
import graphlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pruning", "theory", "reports")
FOR_PEOPLE = {"typer", "rich", "pydantic", "jinja2", "matplotlib"}
FORBIDDEN = {
    "pruning": {"theory", "reports", "prunelaws", "hypothesis", "sympy", *FOR_PEOPLE},
    "theory": {"reports", "prunelaws", *FOR_PEOPLE},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(p): p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))}


def imported(module: str, nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Dotted names of what import statements load; `from a import b` may mean the module a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; name the package"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def all_imports(module: str) -> set[str]:
    return set(imported(module, ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8")))))


def at_module_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node that runs on import: not the bodies of functions, nor what is for type checkers only."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not typing_only:
            yield node
            pending.extend(ast.iter_child_nodes(node))


def our_module(name: str) -> str | None:
    """The module of ours that a dotted name lies in."""
    while name and name not in SOURCES:
        name = name.rpartition(".")[0]
    return name or None


def test_there_is_something_to_check():
    assert {name.partition(".")[0] for name in SOURCES} == set(PACKAGES)
    assert "torch" in {name.partition(".")[0] for name in all_imports("pruning.masks")}


@pytest.mark.parametrize("module", [name for name in SOURCES if name.partition(".")[0] in FORBIDDEN])
def test_imports_go_one_way(module):
    found = {name.partition(".")[0] for name in all_imports(module)}
    assert not found & FORBIDDEN[module.partition(".")[0]]


def test_there_are_no_circles():
    graph = {}
    for module, path in SOURCES.items():
        names = imported(module, at_module_level(ast.parse(path.read_text(encoding="utf-8"))))
        graph[module] = {ours for name in names if (ours := our_module(name))} - {module}
    assert list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_the_entry_module_loads_the_standard_library_alone():
    tree = ast.parse((ROOT / "prunelaws.py").read_text(encoding="utf-8"))
    found = {name.partition(".")[0] for name in imported("prunelaws", at_module_level(tree))}
    assert found <= sys.stdlib_module_names


def python(code: str, *path: Path, cwd: Path = ROOT / "tests") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_importing_the_entry_module_loads_neither_torch_nor_our_packages():
    loaded = python("import prunelaws, sys; print(*sys.modules)").stdout.split()
    assert "prunelaws" in loaded
    assert not {"torch", "numpy", "hypothesis", "typer", *PACKAGES} & set(loaded)


def test_the_public_face_is_there():
    code = "import prunelaws; print([callable(getattr(prunelaws, n)) for n in prunelaws.__all__].count(False))"
    assert python(code).stdout == "0\n"


@pytest.mark.parametrize(
    ("package", "theirs"), [("pruning", "{}/__init__.py"), ("theory", "{}/part.py"), ("reports", "{}.py")]
)
def test_a_foreign_package_of_one_of_our_names_is_used_beside_ours(tmp_path, package, theirs):
    file = tmp_path / theirs.format(package)
    file.parent.mkdir(exist_ok=True)
    file.write_text("THEIRS = True\n")
    name = f"{package}.part" if file.name == "part.py" else package
    code = f"""
        import sys
        from prunelaws import Claim, check_pruner
        sys.path.append({str(tmp_path)!r})
        import {name} as found
        from prunelaws import scored
        assert found.THEIRS
        ended = check_pruner(scored("one", lambda n, s, p: s.weights, claims=[Claim.POSITIVE]), laws=["S2"], examples=1)
        print(any(v.failed for v in ended))
    """
    (tmp_path / "run.py").write_text(textwrap.dedent(code))
    assert python(f"exec(open({str(tmp_path / 'run.py')!r}).read())", cwd=tmp_path).stdout == "True\n"


def test_a_folder_without_code_is_no_package(tmp_path):
    (tmp_path / "reports" / "out").mkdir(parents=True)
    code = "from prunelaws import Claim; print(Claim.__module__)"
    assert python(code, cwd=tmp_path).stdout == "pruning.pruner\n"
