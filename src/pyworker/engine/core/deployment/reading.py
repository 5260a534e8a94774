"""From the text of a ``deployment.toml`` to an endpoint and its workergroups, or to everything that is wrong with it.

Pure: what the file refers to (variables, folders, workers) comes in as ``Surroundings``.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from pyworker.engine.core.deployment.described import Problems, Table, shown
from pyworker.engine.core.deployment.toml_lines import TomlLines
from pyworker.engine.core.launches import variable_problem
from pyworker.engine.core.parameters import (
    A_NAME,
    EndpointParameters,
    GroupParameters,
    Launch,
    Resources,
    checked,
    is_name,
)
from pyworker.errors import JsonDataException

__all__ = ["GROUP_FIELDS", "MODEL_FIELDS", "Deployment", "Problem", "Surroundings", "read_deployment"]

MODEL_FIELDS: Final = ("command", "health")
_OWN_FIELDS: Final = ("worker", "working_directory", "model", "environment", "resources")
GROUP_FIELDS: Final = (*(name for name in GroupParameters.__struct_fields__ if name != "launch"), *_OWN_FIELDS)
_ALSO_CALLED: Final = {"min_workers": "cold_workers", "template_hash": "name", "env": "environment"}
_PLACED: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")

_Parameters = TypeVar("_Parameters", bound=msgspec.Struct)


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint and the workergroups that serve it, of which there is at least one."""

    name: str
    parameters: EndpointParameters
    groups: tuple[GroupParameters, ...]


@dataclass(frozen=True)
class Problem:
    """Something wrong with a line of the file."""

    line: int
    field: str  # "" where the text is no TOML
    words: str


@dataclass(frozen=True)
class Surroundings:
    """What a file may refer to. The functions raise ValueError saying what is not there.

    ``worker_command`` gives the command that runs the worker at a path, ``folder`` a folder's absolute path ("." is
    the file's own), ``variable_problem`` what is wrong with the name of a variable, "" for nothing.
    """

    environment: Mapping[str, str]
    worker_command: Callable[[str], tuple[str, ...]]
    folder: Callable[[str], str]
    variable_problem: Callable[[str], str]


def read_deployment(text: str, around: Surroundings) -> Deployment | list[Problem]:
    """The deployment, or all that is wrong, in the order of the lines."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [_no_toml(str(error), text)]
    problems = Problems()
    deployment = _Reader(around, problems).deployment(Table(values, (), problems))
    lines = TomlLines(text)
    found = [Problem(lines.line_of(place), shown(place), words) for place, words in problems.found]
    return deployment if not found else sorted(found, key=lambda problem: problem.line)


def _no_toml(error: str, text: str) -> Problem:
    """tomllib's words, and the line in them."""
    placed = _PLACED.search(error)
    line = int(placed[1]) if placed and placed[1] else len(text.splitlines()) or 1
    return Problem(line, "", f"this is no TOML: {_PLACED.sub('', error)}")


class _Reader:
    def __init__(self, around: Surroundings, problems: Problems) -> None:
        self._around = around
        self._problems = problems

    def deployment(self, top: Table) -> Deployment:
        top.allow(("endpoint", "workergroup"), {"workergroups": "workergroup", "group": "workergroup"})
        name, parameters = self._endpoint(top)
        tables = top.tables("workergroup")
        if not top.values.get("workergroup", []):
            top.wrong("workergroup", "there is none: an endpoint needs at least one [[workergroup]]")
        groups = tuple(self._group(table) for table in tables)
        counts = Counter(group.name for group in groups)
        for table, group in zip(tables, groups, strict=True):
            if counts[group.name] > 1:
                table.wrong("name", f"several workergroups are called {group.name!r}: give each its own name")
        return Deployment(name=name, parameters=parameters, groups=groups)

    def _endpoint(self, top: Table) -> tuple[str, EndpointParameters]:
        table = top.table("endpoint")
        if table is None:
            if "endpoint" not in top.values:
                top.wrong("endpoint", 'there is none: write [endpoint], and name = "..." below it')
            return "", EndpointParameters()
        table.allow(("name", *EndpointParameters.__struct_fields__), _ALSO_CALLED)
        name = self._name(table)
        if "name" not in table.values:
            table.wrong("name", "is missing: clients ask for the endpoint by it")
        return name, self._parameters(table, EndpointParameters())

    def _group(self, table: Table) -> GroupParameters:
        table.allow(GROUP_FIELDS, _ALSO_CALLED)
        name = self._name(table) or GroupParameters().name
        plain = {key: value for key, value in table.values.items() if key not in {*_OWN_FIELDS, "launch"}}
        group = self._parameters(Table(plain, table.place, self._problems), GroupParameters(provider="local"))
        return msgspec.structs.replace(group, name=name, launch=self._launch(table, group.provider))

    def _launch(self, table: Table, provider: str) -> Launch | None:
        if provider == "external":
            for name in sorted(table.values.keys() & set(_OWN_FIELDS)):
                table.wrong(name, "workers of the provider external join with a token and are not started: remove it")
            return None
        environment = self._environment(table)
        command = self._model(table, environment)
        resources = table.table("resources")
        return Launch(
            worker=self._worker(table),
            model=command,
            environment=environment,
            working_directory=self._folder(table),
            resources=self._resources(resources) if resources else Resources(),
        )

    def _worker(self, table: Table) -> tuple[str, ...]:
        if isinstance(table.values.get("worker"), list):
            return self._command(table, "worker")
        path = table.text("worker")
        if path is None:
            if "worker" not in table.values:
                table.wrong("worker", "is missing: a worker's folder or file, or a command as a list of texts")
            return ()
        try:
            return self._around.worker_command(path)
        except ValueError as error:
            table.wrong("worker", str(error))
            return ()

    def _model(self, table: Table, environment: dict[str, str]) -> tuple[str, ...] | None:
        """The model server's command; its health URL goes into the environment."""
        model = table.table("model")
        if model is None:
            return None
        model.allow(MODEL_FIELDS, {"readiness": "health", "healthcheck": "health"})
        self._health(model, environment)
        if "command" not in model.values:
            model.wrong("command", "is missing: what starts the model server, as a list of texts")
            return None
        command = self._command(model, "command")
        texts = (*command, *environment.values())
        if command and "MODEL_SERVER_URL" not in environment and not any("{model_port}" in text for text in texts):
            model.wrong("command", "never says {model_port}: the worker would look for the model on another port")
        return command

    def _health(self, model: Table, environment: dict[str, str]) -> None:
        url = model.text("health")
        if url is None:
            return
        if not url.startswith(("http://", "https://", "/", "${")):
            model.wrong("health", "must be an address, or a path on the model server that begins with /")
        if "MODEL_HEALTH_ENDPOINT" in environment:
            model.wrong("health", "is said twice: the environment has MODEL_HEALTH_ENDPOINT")
        environment["MODEL_HEALTH_ENDPOINT"] = model.filled("health", url, self._around.environment)

    def _command(self, table: Table, name: str) -> tuple[str, ...]:
        return tuple(table.filled(name, part, self._around.environment) for part in table.texts(name) or ())

    def _environment(self, group: Table) -> dict[str, str]:
        table = group.table("environment")
        filled: dict[str, str] = {}
        if table is None:
            return filled
        for name, value in table.values.items():
            if problem := variable_problem(name) or self._around.variable_problem(name):
                table.wrong(name, problem)
            elif isinstance(value, str):
                filled[name] = table.filled(name, value, self._around.environment)
            else:
                table.wrong(name, "must be a text in quotes: the environment holds nothing else")
        return filled

    def _folder(self, table: Table) -> str:
        path = table.text("working_directory") or "."
        try:
            return self._around.folder(path)
        except ValueError as error:
            table.wrong("working_directory", str(error))
            return ""

    def _resources(self, table: Table) -> Resources:
        table.allow(Resources.__struct_fields__, {"memory": "memory_gb", "gpu": "gpus", "cpu": "cpus"})
        return self._parameters(table, Resources())

    def _name(self, table: Table) -> str:
        name = table.text("name") or ""
        if name and not is_name(name):
            table.wrong("name", f"must be {A_NAME}")
        return name

    def _parameters(self, table: Table, defaults: _Parameters) -> _Parameters:
        """The table's values for these parameters; those that are wrong keep their default."""
        given: dict[str, Any] = {key: value for key, value in table.values.items() if key != "name"}
        while True:  # of the wrong type, then out of range
            try:
                return checked(defaults, given)
            except JsonDataException as error:
                for name, words in error.message.items():
                    table.wrong(name, words)
                given = {name: value for name, value in given.items() if name not in error.message}
