"""prunelaws: holds neural-network pruners to their theory. The unique name that every entry point loads.

Imports nothing heavy. The three packages behind it have common names: installed, and where somebody else's package has
one of these names, ours are loaded aside, so that both can be used. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import builtins
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOMS = ("pruning", "theory", "reports")
_ASIDE = "prunelaws_rooms"  # holds ours where they were installed, or where another package has one of their names
_INSTALLED = (Path(__file__).resolve().parent / _ASIDE).is_dir()  # a checkout has them under their own names
_HOME = Path(__file__).resolve().parent / _ASIDE if _INSTALLED else Path(__file__).resolve().parent
_PUBLIC = {
    "check_pruner": "theory.suite",
    "parametrize_with_laws": "theory.suite",
    "untested": "theory.verdict",
    "UsageError": "pruning.errors",
    "apply_masks": "pruning.interchange",
    "load_masks": "pruning.maskfile",
    "read_masks": "pruning.interchange",
    "save_masks": "pruning.maskfile",
    "Claim": "pruning.pruner",
    "Entrywise": "pruning.pruner",
    "in_place": "pruning.inplace",
    "masking": "pruning.pruner",
    "synaptic_flow": "pruning.adapters.synaptic_flow",
    "torch_global": "pruning.adapters.torch_prune",
    "torch_local": "pruning.adapters.torch_prune",
    "torch_pruning": "pruning.adapters.torch_pruning",
    "torchao": "pruning.adapters.torchao",
    "Pruner": "pruning.pruner",
    "exponential": "pruning.schedule",
    "load_pruner": "pruning.references",
    "problem": "pruning.asked",
    "prune": "pruning.engine",
    "repro": "reports.replayed",
    "scored": "pruning.pruner",
    "scores": "pruning.asked",
    "saliency": "pruning.pruner",
    "trace": "pruning.trace",
}
__all__ = ["main", *sorted(_PUBLIC)]


def main() -> None:
    """The command `prunelaws`."""
    try:
        _ours("reports.cli").main()
    except KeyboardInterrupt:
        sys.exit(130)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"prunelaws has no {name!r}; it offers {', '.join(sorted(_PUBLIC))}")
    return getattr(_ours(_PUBLIC[name]), name)


def _ours(name: str) -> ModuleType:
    """A module of one of our packages, whoever else has a package of that name."""
    return import_module(f"{_ASIDE}.{name}" if _crowded() else name)


@cache
def _crowded() -> bool:
    """Whether ours go aside: where they were installed, and where another package of one of their names is found."""
    named = [Path(arg.partition(".py:")[0]).parent for arg in sys.argv[1:] if ".py:" in arg]
    crowded = _INSTALLED or any(_foreign(name, [Path.cwd(), *named]) for name in _ROOMS)
    if crowded:
        sys.meta_path.insert(0, _Aside())
    return crowded


def _foreign(name: str, folders: list[Path]) -> bool:
    loaded = sys.modules.get(name)
    found = [loaded.__spec__ if loaded else find_spec(name)]
    if not loaded:
        found += [PathFinder.find_spec(name, [str(folder)]) for folder in folders]
    return any(spec is not None and _holds_code(spec) and not _is_ours(spec, name) for spec in found)


def _is_ours(spec: ModuleSpec, name: str) -> bool:
    return spec.origin is not None and Path(spec.origin).resolve().parent == _HOME / name


def _holds_code(spec: ModuleSpec) -> bool:
    """A folder without code is no package, such as the one that reports are written to."""
    return spec.origin is not None or any(
        any(Path(place).glob("*.py")) for place in spec.submodule_search_locations or []
    )


class _Aside:
    """Finds our packages within `prunelaws_rooms`, and under their own names what else there is of these."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname in _ROOMS:
            others = [p for p in sys.path if _INSTALLED or not Path(p, "prunelaws.py").exists()]
            return PathFinder.find_spec(fullname, others)
        if fullname == _ASIDE:
            spec = ModuleSpec(_ASIDE, None, is_package=True)
            spec.submodule_search_locations = [str(_HOME)]
            return spec
        if not fullname.startswith(f"{_ASIDE}."):
            return None
        found = PathFinder.find_spec(fullname, path)
        if found is not None and found.origin is not None:
            found.loader = _AsideLoader(fullname, found.origin)
        return found


class _AsideLoader(SourceFileLoader):
    """Runs a module of ours so that our packages' names mean ours in it."""

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import_aside}
        super().exec_module(module)


def _import_aside(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> ModuleType:
    if level or name.partition(".")[0] not in _ROOMS:
        return builtins.__import__(name, globals, locals, fromlist, level)
    found = import_module(f"{_ASIDE}.{name}")
    if not fromlist:
        return sys.modules[f"{_ASIDE}.{name.partition('.')[0]}"]
    return builtins.__import__(found.__name__, globals, locals, fromlist, 0)


_OPTIONS = {  # of pytest, each with a twin in the ini file: what it is called there, its type, and its help
    "pruner": ("linelist", "hold this pruner to every law: package.module:object or file.py:object; may be repeated"),
    "claim": ("linelist", "hold the pruners named here to this claim as well; may be repeated"),
    "laws": ("linelist", "only these laws (names or ids, commas allowed); may be repeated"),
    "examples": ("string", "random networks per law and family (default 320)"),
    "max-params": ("string", "pass over networks with more weights"),
    "seed": ("string", "decides every random number (default 0)"),
    "device": ("string", "where tensors live: cpu, cuda, ... (default cpu)"),
    "corpus": ("string", "also try the witnesses in this folder before any search"),
    "report": ("string", "write run.json and witnesses/ into this folder"),
}


def pytest_addoption(parser: Any) -> None:
    """The options, and their twins in the ini file."""
    group = parser.getgroup("prunelaws", "hold neural-network pruners to their laws")
    for name, (kind, help) in _OPTIONS.items():
        more = {"action": "append"} if kind == "linelist" else {}
        more |= {"metavar": name.split("-")[-1].upper()}
        group.addoption(f"--prunelaws-{name}", dest=f"prunelaws_{name}", default=None, help=help, **more)
        parser.addini(f"prunelaws_{name.replace('-', '_')}", help, type=kind, default=None)


def pytest_configure(config: Any) -> None:
    """Register the marker, and the plugin for this session. Raises pytest.UsageError for options that can't be met."""
    config.addinivalue_line("markers", "prunelaws: a law that a pruner is held to")
    door = _Door(config)
    config.pluginmanager.register(door, "prunelaws-door")
    door.check_options()


class _Door:
    """What pytest tells a plugin; our packages, and torch, are loaded where there are laws to check."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.balances: list[int] = []
        self.findings: list[str] = []

    def said(self, name: str) -> Any:
        """An option of the command line, or else of the ini file; None where neither says anything."""
        given = self.config.getoption(f"prunelaws_{name}")
        return given if given is not None else self.config.getini(f"prunelaws_{name.replace('-', '_')}") or None

    def number(self, name: str) -> int | None:
        """The same of a whole number. Raises pytest.UsageError."""
        text = self.said(name)
        if text is None or text.strip().isdecimal():
            return None if text is None else int(text)
        usage = import_module("pytest").UsageError
        raise usage(f"prunelaws: --prunelaws-{name} is {text!r}, wanted a whole number")

    def check_options(self) -> None:
        """Raise pytest.UsageError before anything runs: what a worker of xdist raises reaches nobody."""
        if hasattr(self.config, "workerinput") or not any(self.said(name) for name in _OPTIONS):
            return
        report = Path(self.said("report")) if self.said("report") else None
        distributed = bool(getattr(self.config.option, "numprocesses", None))
        references = self.said("pruner") or [] if distributed else []  # else they are loaded when tests are collected
        _ours("theory.plugin").checked(references, self.said("claim") or [], self.settings())
        if report:
            try:
                _ours("reports.files").prepare(report)
            except _ours("pruning.errors").UsageError as error:
                raise import_module("pytest").UsageError(f"prunelaws: {error}") from error

    def settings(self) -> Any:
        """What was asked for."""
        laws = self.said("laws")
        return _ours("theory.suite").Settings(
            None if laws is None else tuple(laws),
            self.number("examples"),
            self.number("max-params"),
            self.number("seed"),
            self.said("device"),
            self.said("corpus"),
        )

    def pytest_collection_modifyitems(self, session: Any, items: list[Any]) -> None:
        """Add the laws of the pruners that are named, and say to every check what was asked for."""
        if self.said("pruner") or any(item.get_closest_marker("prunelaws") for item in items):
            references, claims = self.said("pruner") or [], self.said("claim") or []
            _ours("theory.plugin").collected(session, items, references, claims, self.settings())

    def pytest_runtest_teardown(self, item: Any) -> None:
        """Put what a check found on its report, which reaches the main process however many there are."""
        if item.get_closest_marker("prunelaws"):
            plugin = _ours("theory.plugin")
            check = plugin.check_of(item)
            if check is not None:
                item.user_properties.append(("prunelaws_balances", sum(v.balances for v in check.found)))
                if self.said("report"):
                    item.user_properties.append(("prunelaws", plugin.finding(check)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take it off the report."""
        if report.when == "teardown":
            told = dict(report.user_properties)
            if "prunelaws_balances" in told:
                self.balances.append(told["prunelaws_balances"])
            if "prunelaws" in told:
                self.findings.append(told["prunelaws"])

    def pytest_sessionfinish(self, session: Any) -> None:
        """Write the record; a session in which no law found anything to check is no success."""
        if hasattr(self.config, "workerinput"):
            return
        if self.findings:
            run = _ours("theory.plugin").run_of(self.findings)
            _ours("reports.files").write_record(run, Path(self.said("report")))
        if self.balances and not sum(self.balances) and not session.exitstatus:
            session.exitstatus = 5  # as where no test was collected

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """How much was checked, in one line."""
        if self.balances:
            told = f"prunelaws: {sum(self.balances):,} balances compared"
            if not sum(self.balances):
                told += "; nothing that was checked was more than trivial: this run verifies nothing"
            folder = self.said("report")
            terminalreporter.write_line(f"{told}; record: {Path(folder) / 'run.json'}" if folder else told)


if __name__ == "__main__":
    main()
