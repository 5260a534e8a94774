"""Import names that workers were written for, and that we stand in for: ``lib.*``, ``utils.*``, ``vastai``.

``install`` puts a finder in front of Python's own. Importing this package installs nothing: `pyworker run` does, and
``loading``. What is offered is in NAMES and nowhere else. Any other name comes from the real package where it is
installed; where it is not, the error says which package has it.

A worker's repository may bring a ``lib`` of its own. When that is the guide's library (it has ``GUIDES`` modules),
ours takes the place of the modules that we know; any other ``lib`` or ``utils`` is the author's, and we only add what
it has not got.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pyworker.names import nearest

__all__ = ["GUIDES", "NAMES", "install", "is_installed", "uninstall"]


def _of(home: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, home)


_DECLARED: Final = _of("pyworker", "BenchmarkConfig", "HandlerConfig", "LogActionConfig", "Worker", "WorkerConfig")
_BACKEND: Final = {"Backend": "pyworker.backend", "LogAction": "pyworker.api"}
_DATA_TYPES: Final = {
    **_of("pyworker.api", "ApiPayload", "ApiPayload_T", "EndpointHandler", "LogAction"),
    **_of("pyworker.author_metrics", "ModelMetrics", "RequestMetrics", "SystemMetrics"),
    "AuthData": "pyworker.wire",
    "JsonDataException": "pyworker.errors",
}
_METRICS: Final = _of("pyworker.author_metrics", "Metrics", "get_url")
_SERVER: Final = {"start_server": "pyworker.worker.serve"}
_SDK: Final = {**_DECLARED, "Serverless": "pyworker.client.serverless"}
_SDK_LIB: Final = "vastai.serverless.server.lib"

NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "lib": {},
    "lib.backend": _BACKEND,
    "lib.data_types": _DATA_TYPES,
    "lib.metrics": _METRICS,
    "lib.server": _SERVER,
    "lib.test_harness": {"run": "pyworker.load.command"},
    "lib.test_utils": {
        **_of("pyworker.load.command", "connect", "print_truncate_res", "test_args", "test_load_cmd"),
        **_of("pyworker.load.script", "client_cmd"),
    },
    "utils": {},
    "utils.endpoint_util": {"Endpoint": "pyworker.client.lookup"},
    "utils.ssl": {"get_cert_file_path": "pyworker.client.lookup"},
    "vastai": _SDK,
    "vastai_sdk": _SDK,
    "vastai.serverless": {},
    "vastai.serverless.server": {},
    "vastai.serverless.server.worker": _DECLARED,
    _SDK_LIB: {},
    f"{_SDK_LIB}.backend": _BACKEND,
    f"{_SDK_LIB}.data_types": _DATA_TYPES,
    f"{_SDK_LIB}.metrics": _METRICS,
    f"{_SDK_LIB}.server": _SERVER,
}
"""What each module offers, and where that is defined."""

GUIDES: Final[Mapping[str, tuple[str, ...]]] = {
    "lib": ("backend.py", "data_types.py", "server.py"),
    "utils": ("endpoint_util.py", "ssl.py"),
}
"""The files by which the guide's own library is known."""

_PACKAGES: Final = {"vastai": "vastai", "vastai_sdk": "vastai-sdk"}


def install() -> None:
    """Offer the names in this process, from now on; a second time changes nothing."""
    if not is_installed():
        sys.meta_path.insert(0, _finder)


def is_installed() -> bool:
    """Whether they are offered."""
    return _finder in sys.meta_path


def uninstall() -> None:
    """Offer them no more, and forget the modules that were imported so."""
    if is_installed():
        sys.meta_path.remove(_finder)
    for name, module in tuple(sys.modules.items()):
        if isinstance(module, _StandIn):
            del sys.modules[name]


class _StandIn(ModuleType):
    """A module whose names are ours; any other is the real module's, which is loaded when it is first asked for."""

    def __init__(self, name: str, real: ModuleSpec | None) -> None:
        super().__init__(name, f"{name}, as pyworker offers it: {', '.join(NAMES[name]) or 'its modules'}.")
        self._real_spec = real
        self._real: ModuleType | None = None

    def __getattr__(self, name: str) -> Any:
        if home := NAMES[self.__name__].get(name):
            value = getattr(importlib.import_module(home), name)
            setattr(self, name, value)
            return value
        if name == "__all__":
            return sorted({*NAMES[self.__name__], *self._real_names()})
        if (name.startswith("__") and name != "__version__") or self._real_spec is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(self._load_real(self._real_spec), name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.__all__})

    def _real_names(self) -> Sequence[str]:
        """What ``import *`` of the real one gives."""
        if self._real_spec is None:
            return ()
        real = self._load_real(self._real_spec)
        return getattr(real, "__all__", [name for name in vars(real) if not name.startswith("_")])

    def _load_real(self, spec: ModuleSpec) -> ModuleType:
        """Beside ours, under its own name, so that what it imports relatively is found."""
        if self._real is None:
            assert spec.loader is not None
            self._real = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(self._real)
            except BaseException:
                self._real = None
                raise
            put = sys.modules.get(self.__name__, self)
            if put is not self:  # it has put another module in its place
                self._real, sys.modules[self.__name__] = put, self
        return self._real


class _StandInLoader(Loader):
    def __init__(self, real: ModuleSpec | None) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name, self._real)

    def exec_module(self, module: ModuleType) -> None:
        """All is there already."""


class _Finder(MetaPathFinder):
    """Every stand-in is a package: so a name that it has not got comes here as a submodule, and gets a good answer."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        if top not in {"lib", "utils", *_PACKAGES}:
            return None
        real = _find_elsewhere(fullname, path, target)
        if fullname not in NAMES:
            if real is None and rest:
                _refuse(fullname, top)
            return None
        if real is not None and _goes_before_ours(fullname, path):
            return None
        spec = ModuleSpec(fullname, _StandInLoader(real), is_package=True)
        spec.submodule_search_locations = list((real and real.submodule_search_locations) or ())
        return spec


_finder: Final = _Finder()


def _find_elsewhere(name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """The module that there would be without us."""
    for finder in sys.meta_path:
        if finder is not _finder and (spec := finder.find_spec(name, path, target)) is not None:
            return spec
    return None


def _goes_before_ours(name: str, path: Sequence[str] | None) -> bool:
    """Whether the module that there is besides stays as it is: a package on the way to others, an author's ``lib``."""
    top = name.partition(".")[0]
    if not NAMES[name]:
        return True
    files = GUIDES.get(top)
    return files is not None and not any(
        all((Path(folder) / file).is_file() for file in files) for folder in path or ()
    )


def _refuse(name: str, top: str) -> None:
    """Raises ImportError that says where it is to be had; of a module of ``lib`` that is nowhere Python tells."""
    parent, _, wanted = name.rpartition(".")
    offered = sorted(NAMES.get(parent) or (known for known in NAMES if known.startswith(f"{top}.")))
    near = nearest(wanted, offered)
    meant = f"did you mean {near!r}?" if near else f"there is {', '.join(offered)}."
    if top in GUIDES:
        if NAMES.get(parent):
            raise ImportError(f"pyworker's {parent} has no {wanted!r}: {meant}", name=parent)
        return
    package = _PACKAGES[top]
    if _find_elsewhere(top, None, None) is not None:
        raise ImportError(f"neither pyworker nor the package {package} that is installed has {name!r}", name=parent)
    raise ImportError(
        f"pyworker offers no {name!r}: {meant} All else is in the package {package}: pip install {package}", name=parent
    )
