"""From the templates to a folder's files. Reads the package's own templates, writes nothing."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template
from typing import Final, Literal

from pyworker.scaffold.servers import SERVERS, Server

__all__ = ["STYLES", "Style", "render"]

Style = Literal["declarative", "subclass"]
STYLES: Final[tuple[Style, ...]] = ("declarative", "subclass")
_ANY_PYTHON: Final = "python3"
_PLAIN: Final = re.compile(r"[\w/.+@-]+")  # what neither make nor a shell takes for more than a name
_SUFFIX: Final = ".tmpl"
_NAMES: Final = {"gitignore": ".gitignore"}  # a package's build would leave it out under its own name


def render(name: str, style: Style, server: str, *, python: str = _ANY_PYTHON) -> dict[str, str]:
    """The files of a new worker, by their paths in its folder. ``python``: one that pyworker is installed for.

    Raises KeyError for a server that is none.
    """
    values = {**_values(name, style, SERVERS[server]), "python": _found(python)}
    rendered: dict[str, str] = {}
    for part in ("common", style):
        for path, template in _templates(files("pyworker.scaffold") / "templates" / part):
            rendered[path] = Template(template).substitute(values)
    return dict(sorted(rendered.items()))


def _found(python: str) -> str:
    """As a Makefile says it: this one where it is there (the folder may be taken elsewhere), else any."""
    is_plain = _PLAIN.fullmatch(python) and python != _ANY_PYTHON
    return f"$(or $(wildcard {python}),{_ANY_PYTHON})" if is_plain else _ANY_PYTHON


def _templates(folder: Traversable, before: str = "") -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{before}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            name = entry.name.removesuffix(_SUFFIX)
            yield before + _NAMES.get(name, name), entry.read_text(encoding="utf-8")


def _values(name: str, style: Style, server: Server) -> dict[str, str]:
    is_declarative = style == "declarative"
    class_name = "".join(word.capitalize() for word in name.split("_")) or "My"
    return {
        "name": name,
        "Name": class_name,
        "title": server.title,
        "port": str(server.port),
        "health": server.health,
        "loaded": _text(server.loaded),
        "error": _text(server.error),
        "parallel": str(server.parallel),
        "unit": server.unit,
        "answer": server.answer,
        "entry": "worker.py" if is_declarative else "server.py",
        "route": server.routes[0],
        "routes": ", ".join(f"`{route}`" for route in server.routes),
        "model_constant": 'MODEL = os.environ.get("MODEL_NAME", "Qwen/Qwen3-8B")\n' if _has_model(server) else "",
        "imports_os": "import os\n" if is_declarative or _has_model(server) else "",
        "imports_any": "from typing import Any, Self\n" if _wants_any(server) else "from typing import Self\n",
        "deployment_model": _deployment_model(server),
        "gpus": str(server.gpus),
        "loaded_plain": server.loaded,
        "error_plain": server.error,
        "health_text": _text(server.health),
        **_style(style, class_name),
        **_payload(server),
        **_routes(server),
    }


def _style(style: Style, class_name: str) -> Mapping[str, str]:
    """How a payload is made, and which files there are."""
    if style == "declarative":
        return {
            "madefrom": "worker",
            "client_names": "benchmark_payload, workload",
            "test_names": "benchmark_payload",
            "client_payload": "    payload = benchmark_payload()\n    cost = workload(payload)",
            "test_payload": "        payload = benchmark_payload()",
            "imports_dataclasses": "",
            "files_table": "| `worker.py` | the worker: its model, its route, its benchmark, its workload |",
        }
    return {
        "madefrom": "data_types",
        "client_names": f"{class_name}Data",
        "test_names": f"{class_name}Data",
        "client_payload": (
            f"    data = {class_name}Data.for_test()\n"
            "    payload, cost = dataclasses.asdict(data), data.count_workload()"
        ),
        "test_payload": f"        payload = dataclasses.asdict({class_name}Data.for_test())",
        "imports_dataclasses": "import dataclasses\n",
        "files_table": (
            "| `data_types.py` | the payload: its fields, its workload, a test payload |\n"
            "| `server.py` | the handler, and the wiring |"
        ),
    }


def _has_model(server: Server) -> bool:
    return any(field == "model" for field, *_ in server.fields)


def _wants_any(server: Server) -> bool:
    return any("Any" in annotation for _, annotation, *_ in server.fields)


def _payload(server: Server) -> Mapping[str, str]:
    keys = {
        field: f'payload["{field}"]' if not default else _get(field, default) for field, _, default, _ in server.fields
    }
    attributes = {field: f"self.{field}" for field, *_ in server.fields}
    return {
        "fields": "\n".join(
            f"    {field}: {annotation}" + (f" = {default}" if default else "")
            for field, annotation, default, _ in server.fields
        ),
        "for_test": "\n".join(_deep(f"{field}={made},", 12) for field, *_, made in server.fields),
        "payload_items": "\n".join(_deep(f'"{field}": {made},', 8) for field, *_, made in server.fields),
        "count_keys": "\n".join(_deep(_filled(line, keys), 4) for line in server.count),
        "count_attributes": "\n".join(_deep(_filled(line, attributes), 8) for line in server.count),
    }


def _get(field: str, default: str) -> str:
    plain = "{}" if default.startswith("dataclasses") else default
    return f'payload.get("{field}", {plain})'


def _deep(lines: str, spaces: int) -> str:
    return textwrap.indent(lines, " " * spaces)


def _filled(count: str, names: Mapping[str, str]) -> str:
    """Only what stands in braces as one of the names: the rest is Python."""
    return re.sub(r"\{(\w+)\}", lambda place: names[place[1]], count)


def _routes(server: Server) -> Mapping[str, str]:
    first, *others = server.routes
    declared = [
        _handler_config(first, server, "benchmark_config=BenchmarkConfig(generator=benchmark_payload, runs=3),"),
        *(_handler_config(route, server, "") for route in others),
    ]
    return {
        "handler_configs": "\n".join(declared),
        "first_route": _text(first),
        "mounted_routes": "\n".join(
            f"    web.post({_text(route)}, backend.create_handler(Handler(route={_text(route)}))),"
            for route in server.routes
        ),
    }


def _handler_config(route: str, server: Server, benchmark: str) -> str:
    lines = [f"route={_text(route)},", f"allow_parallel_requests={server.parallel},", "workload_calculator=workload,"]
    inner = "\n".join(f"                {line}" for line in [*lines, *filter(None, [benchmark])])
    return f"            HandlerConfig(\n{inner}\n            ),"


def _deployment_model(server: Server) -> str:
    command = server.command or ("python", "model_server.py", "--port", "{model_port}")
    lines = [
        "[workergroup.model]",
        f"command = {json.dumps(list(command))}",
        f'health = "{server.health}"',
    ]
    if server.command is not None:
        return "\n".join(lines)
    return "\n".join(
        [
            "# Where the model server is. Your shell's variables do not reach a worker,",
            '# but here "${NAME}" is one of them.',
            "[workergroup.environment]",
            f'MODEL_SERVER_URL = "http://127.0.0.1:{server.port}"',
            "",
            "# Or, instead of that, what starts it:",
            *(f"# {line}" for line in lines),
        ]
    )


def _text(text: str) -> str:
    """As ruff writes a Python string."""
    return f"'{text}'" if '"' in text and "'" not in text else json.dumps(text)
