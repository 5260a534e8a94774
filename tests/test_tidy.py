"""Style as a test that ratchets: what is held here gets better or stays as it is."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest

from tests.support.source import Module, modules

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
USUAL_FUNCTION_LINES = 30
USUAL_SHARE = 0.95

PURE = re.compile(
    r"pyworker\.(wire|wire_management|wire_check|wire_dashboard|wire_routes|errors|headers|fields|tickets|names|worker\.core(\.\w+)?|engine\.core(\.\w+)*|client\.(retry|hedging|outgoing|events)|gateway\.(asked|answers)"
    r"|instance\.(order|surroundings)|running\.plan|checking\.(findings|values|verdicts)|scaffold\.(naming|servers))"
)
IMPURE = {"asyncio", "aiohttp", "os", "time", "logging", "socket", "subprocess", "threading", "random", "secrets"}

READS_THE_ENVIRONMENT = {
    "src/pyworker/settings.py": "the only reader",
    "src/pyworker/instance/__main__.py": "hands on what it inherited, and is too small for settings.py",
    "src/pyworker/running/__main__.py": "the same",
    "src/pyworker/testing/process.py": "a process that is started inherits it",
}

# where anything may be raised, because the code called is not ours or nothing stands above
CATCHES_EVERYTHING = {
    "src/pyworker/checking/__main__.py": {"main"},
    "src/pyworker/checking/author.py": {"attempt", "attempt_in_loop"},
    "src/pyworker/cli/__init__.py": {"main"},
    "src/pyworker/engine/calls/http.py": {"errors_as_json"},
    "src/pyworker/engine/engine.py": {"Engine._tick_for_ever"},
    "src/pyworker/engine/instances.py": {"Instances._carry_out"},
    "src/pyworker/engine/journal.py": {"Journal.keep_writing"},
    "src/pyworker/engine/scaler.py": {"Scaler.keep_scaling"},
    "src/pyworker/engine/telling.py": {"keep_telling"},
    "src/pyworker/fields.py": {"_hints"},
    "src/pyworker/logs.py": {"_Handler.emit"},
    "src/pyworker/worker/inbound/app.py": {"_answer_errors.answer_errors"},
    "src/pyworker/worker/author_answers.py": {"answered_by"},
    "src/pyworker/worker/author_code.py": {"in_thread.run"},
    "src/pyworker/worker/authored.py": {
        "AuthoredRoute._by_author",
        "AuthoredRoute._call_function",
        "AuthoredRoute._make_benchmark_payload",
        "AuthoredRoute.send",
    },
    "src/pyworker/worker/declared_route.py": {
        "DeclaredRoute._benchmark_request",
        "DeclaredRoute._parsed",
        "DeclaredRoute._read",
        "DeclaredRoute._counted",
        "DeclaredRoute._encoded",
        "DeclaredRoute._result",
    },
    "src/pyworker/worker/inbound/fast_lane.py": {"ClientConnection._serve"},
    "src/pyworker/worker/pass_through.py": {"PassThroughRoute._make_benchmark_request"},
    "src/pyworker/worker/routes.py": {"Route._estimate", "Route.answered_workload"},
    "src/pyworker/loading.py": {"_execute_until"},
    "src/pyworker/running/here.py": {"_run", "run_target"},
    "src/pyworker/running/welcome.py": {"_payload"},
    "src/pyworker/worker/serve.py": {"serve", "start_server"},
    "src/pyworker/worker/warm_up.py": {"WarmUp._live"},
}

# parts of the package that know nothing of each other, but for these; what is outside of them is for all
MAY_IMPORT = {
    "pyworker.checking": {"pyworker.testing", "pyworker.worker"},  # it runs a worker before a fake model
    "pyworker.cli": {
        "pyworker.checking",
        "pyworker.client",
        "pyworker.engine",
        "pyworker.gateway",
        "pyworker.load",
        "pyworker.running",
        "pyworker.scaffold",
        "pyworker.worker",
    },
    "pyworker.client": set(),
    "pyworker.engine": {"pyworker.gateway"},
    "pyworker.gateway": {"pyworker.client"},
    "pyworker.load": {"pyworker.client"},
    "pyworker.running": {"pyworker.worker"},
    "pyworker.scaffold": set(),
    "pyworker.simulate": {"pyworker.engine"},
    "pyworker.testing": {"pyworker.worker"},
    "pyworker.worker": set(),
}
ABOVE = {"benchmarks", "lib", "tests", "utils", "workers"}

# what a library calls by these names
CALLBACKS = {
    "on_body",
    "on_header",
    "on_headers_complete",
    "on_message_begin",
    "on_message_complete",
    "on_status",
    "on_url",
}

UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")

Found = dict[str, object]


def offenders(check: Callable[[Module], object], looked_at: Iterable[Module] | None = None) -> Found:
    """What ``check`` finds wrong, by place; nothing where it finds nothing."""
    found = {module.place: check(module) for module in (modules() if looked_at is None else looked_at)}
    return {place: wrong for place, wrong in found.items() if wrong}


def is_pure(name: str) -> bool:
    return PURE.fullmatch(name) is not None


def is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


# --- what imports what ----------------------------------------------------------------------------


def test_pure_modules_do_no_io_know_no_time_and_import_only_their_like() -> None:
    ours = {module.name for module in modules("src/pyworker") if module.path.name != "__init__.py"}

    def impure(module: Module) -> set[str]:
        imported = module.imports()
        libraries = {name for name in imported if name.partition(".")[0] in IMPURE}
        return libraries | {name for name in imported & ours if not is_pure(name)}

    pure = [module for module in modules("src/pyworker") if is_pure(module.name)]
    assert len(pure) > 10
    assert offenders(impure, pure) == {}


def test_imports_go_round_in_no_circle() -> None:
    names = {module.name for module in modules()}
    graph = {module.name: module.imports(at_runtime=True) & names for module in modules()}
    # a package is imported with everything in it; what counts is what a module asks for
    graph = {name: {other for other in graph[name] if not is_within(name, other)} for name in graph}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_imports_point_one_way() -> None:
    def wrong(module: Module) -> set[str]:
        imported = module.imports()
        part = next((part for part in MAY_IMPORT if is_within(module.name, part)), None)
        others = (
            MAY_IMPORT.keys() - MAY_IMPORT.get(part, set()) - {part} if part else {"pyworker.cli", "pyworker.testing"}
        )
        return {
            name
            for name in imported
            if name.partition(".")[0] in ABOVE or any(is_within(name, other) for other in others)
        }

    assert offenders(wrong, modules("src/pyworker")) == {}


def test_what_is_built_on_the_package_uses_public_names_only() -> None:
    def private(module: Module) -> list[str]:
        return [
            f"{node.module}.{alias.name}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in {"pyworker", "lib"}
            for alias in node.names
            if not is_public(node.module, alias.name)
        ]

    assert offenders(private, modules("lib", "utils", "workers")) == {}


def is_public(module: str, name: str) -> bool:
    public = getattr(importlib.import_module(module), "__all__", ())
    return name in public or any(other.name == f"{module}.{name}" for other in modules())


def test_lib_re_exports_and_does_nothing_else() -> None:
    def more(module: Module) -> list[str]:
        return [ast.unparse(node) for node in module.tree.body if not is_re_export(node)]

    assert offenders(more, modules("lib")) == {}


def is_re_export(node: ast.stmt) -> bool:
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    return is_docstring or is_all or isinstance(node, ast.ImportFrom)


# --- who does what --------------------------------------------------------------------------------


def test_the_environment_has_one_reader() -> None:
    def reads(module: Module) -> set[str]:
        names = {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
        return names & {"environ", "environb", "getenv"}

    assert offenders(reads, modules("src/pyworker", "lib", "utils")).keys() == READS_THE_ENVIRONMENT.keys()


def test_everything_is_caught_only_where_it_is_named() -> None:
    def catching(module: Module) -> set[str]:
        return {place for place, handler in module.handlers() if is_broad(handler)}

    assert offenders(catching) == CATCHES_EVERYTHING


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Catches everything and keeps it: one that cleans up and raises it again is none."""
    last = handler.body[-1]
    raises_again = isinstance(last, ast.Raise) and last.exc is None
    caught = (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {"Exception"}
    )
    return bool(caught & {"Exception", "BaseException", "AUTHOR_ERRORS"}) and not raises_again


# --- size -----------------------------------------------------------------------------------------


def test_a_file_can_be_read_in_one_sitting() -> None:
    def too_long(module: Module) -> int:
        lines = len(module.text.splitlines())
        return lines if lines > MAX_FILE_LINES else 0

    assert offenders(too_long) == {}


def test_a_function_fits_on_a_screen() -> None:
    def too_long(module: Module) -> dict[str, int]:
        lengths = {function.name: lines_of(function) for function in module.functions()}
        return {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}

    assert offenders(too_long) == {}


def test_most_functions_are_short() -> None:
    lengths = [lines_of(function) for module in modules() for function in module.functions()]
    short = sum(length <= USUAL_FUNCTION_LINES for length in lengths)
    assert short / len(lengths) >= USUAL_SHARE


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


# --- words ----------------------------------------------------------------------------------------


def test_nothing_is_left_for_later() -> None:
    assert (
        offenders(lambda module: UNFINISHED.findall(module.text), [*modules(), *modules("tests", "benchmarks")]) == {}
    )


def test_every_module_says_what_it_is() -> None:
    def silent(module: Module) -> bool:
        return bool(module.tree.body) and not ast.get_docstring(module.tree)

    assert offenders(silent) == {}


def test_every_public_name_says_what_it_is() -> None:
    def silent(module: Module) -> list[str]:
        loaded = importlib.import_module(module.name)
        return [name for name, value in public_parts(loaded) if not inspect.getdoc(value)]

    assert offenders(silent, modules("src/pyworker")) == {}


def public_parts(loaded: Any) -> Iterator[tuple[str, Any]]:
    """Functions and classes defined there, and the public parts of the classes.

    An overriding method has its base's words, and a Protocol says what it is as a whole.
    """
    for name, value in vars(loaded).items():
        defined_there = getattr(value, "__module__", None) == loaded.__name__
        if name.startswith("_") or not defined_there or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        yield name, value
        if inspect.isclass(value) and not getattr(value, "_is_protocol", False):
            yield from ((f"{name}.{part}", getattr(value, part)) for part in vars(value) if needs_words(value, part))


def needs_words(cls: type[Any], name: str) -> bool:
    kind = inspect.getattr_static(cls, name)
    is_method = isinstance(kind, property | staticmethod | classmethod) or inspect.isfunction(kind)
    return is_method and not name.startswith("_") and name not in CALLBACKS


# --- the test of the tests ------------------------------------------------------------------------


def test_what_is_named_here_exists() -> None:
    places = {module.place for module in modules()}
    assert {*CATCHES_EVERYTHING, *READS_THE_ENVIRONMENT} <= places
    assert {module.name for module in modules()} >= MAY_IMPORT.keys() - {"pyworker.load"}
