"""What a worker learns from its environment; the only reader of it, from a mapping passed in.

Every variable is one row of VARIABLES: its name, what it is for, and how it is read. All that is missing or
wrong is reported at once.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyworker.errors import SettingsError
from pyworker.names import nearest
from pyworker.tickets import TicketKey

__all__ = [
    "VARIABLES",
    "LogSettings",
    "WorkerSettings",
    "environment",
    "misspelt_variable",
    "set_default",
    "state_folder",
    "unknown_variables",
]

MIB = 1024 * 1024


def environment() -> Mapping[str, str]:
    """The process's environment. Nothing else reads it."""
    return os.environ


def set_default(name: str, value: str) -> None:
    """Give this process a variable that it has not got: for a library that is told things only so."""
    os.environ.setdefault(name, value)


@dataclass(frozen=True)
class LogSettings:
    """How the log is written: ``level`` as in the logging module, ``as_json`` for one JSON object a line."""

    level: str = "INFO"
    as_json: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> LogSettings:
        """Never fails: the log must work before anything else does."""
        level = env.get("LOG_LEVEL", "INFO").upper()
        known = level if level in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"} else "INFO"
        return cls(known, env.get("LOG_FORMAT", "").lower() == "json")


@dataclass(frozen=True)
class WorkerSettings:
    """A worker's place in the world. Times in s, sizes in bytes; see VARIABLES for what each one is."""

    port: int = 3000
    http_port: int | None = None
    public_port: int | None = None
    public_host: str = "127.0.0.1"
    worker_id: int = 0
    report_addrs: tuple[str, ...] = ()
    mtoken: str = field(default="", repr=False)
    use_ssl: bool = False
    ssl_cert: Path = Path("/etc/instance.crt")
    ssl_key: Path = Path("/etc/instance.key")
    unsecured: bool = False
    ticket_keys: tuple[TicketKey, ...] = ()
    host: str = "0.0.0.0"  # noqa: S104 - a worker is there to be reached from outside
    model_server_url: str = ""
    model_log: str = ""
    model_health_url: str = ""
    state_dir: Path = Path()
    max_body_bytes: int = 256 * MIB
    max_unauthenticated_bytes: int = 512 * MIB
    max_session_s: float = 3600.0
    drain_s: float = 30.0
    report_interval_s: float = 1.0
    log: LogSettings = LogSettings()

    @property
    def url(self) -> str:
        """The address that clients call, as it is signed by the engine."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The address when the server got this port (it may have been asked for port 0, any free one)."""
        scheme = "https" if self.use_ssl else "http"
        return f"{scheme}://{self.public_host}:{self.public_port or port}"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> WorkerSettings:
        """Read all variables. Raises SettingsError naming every one that is missing or wrong, and its use."""
        reader = _Reader(env)
        values = {row.field: reader.read(row, row.name) for row in VARIABLES if row.name in reader.given}
        port = values.get("port", cls.port)
        public = f"VAST_TCP_PORT_{port}"
        if public in reader.given:
            values["public_port"] = reader.read(_PUBLIC_PORT, public)
        reader.require_together(public if port else "")
        keys = reader.ticket_keys()
        if reader.problems:
            raise SettingsError(reader.problems)
        values.setdefault("state_dir", state_folder(env))
        return cls(**values, ticket_keys=keys, log=LogSettings.from_env(env))


@dataclass(frozen=True)
class Variable:
    """One environment variable: where its value goes, how it is read, what it is for."""

    name: str
    field: str
    read: Callable[[str], Any]
    use: str


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _port(text: str) -> int:
    port = _int(text)
    if not 0 <= port <= 65535:
        raise ValueError("a port is 0 to 65535")
    return port


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError("must be a number above 0")
    return number


def _size_mb(text: str) -> int:
    return int(_positive(text) * MIB)


def _flag(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0", ""}:
        raise ValueError('must be "true" or "false"')
    return text.lower() in {"true", "1"}


def _addresses(text: str) -> tuple[str, ...]:
    addresses = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{address!r} is not an http(s) address")
    return addresses


VARIABLES: tuple[Variable, ...] = (
    Variable("WORKER_PORT", "port", _port, "the port this worker listens on (default 3000; 0: any free one)"),
    Variable("WORKER_HTTP_PORT", "http_port", _port, "plain HTTP on loopback for callbacks (default WORKER_PORT + 1)"),
    Variable("WORKER_HOST", "host", str, "the address to bind to (default 0.0.0.0)"),
    Variable("PUBLIC_IPADDR", "public_host", str, "the address under which clients reach this machine"),
    Variable("CONTAINER_ID", "worker_id", _int, "the instance's number, by which the engine knows this worker"),
    Variable("REPORT_ADDR", "report_addrs", _addresses, "the engine's address, or several separated by commas"),
    Variable("MASTER_TOKEN", "mtoken", str, "the instance's secret, which proves its reports to the engine"),
    Variable("USE_SSL", "use_ssl", _flag, '"true": serve TLS with SSL_CERT and SSL_KEY (default false)'),
    Variable("SSL_CERT", "ssl_cert", Path, "the certificate (default /etc/instance.crt)"),
    Variable("SSL_KEY", "ssl_key", Path, "the certificate's key (default /etc/instance.key)"),
    Variable("UNSECURED", "unsecured", _flag, '"true": serve anybody, check no signature (default false)'),
    Variable("MODEL_SERVER_URL", "model_server_url", str, "the model server, where the worker's code names none"),
    Variable("MODEL_LOG", "model_log", str, "the model server's log, where the worker's code names none"),
    Variable("MODEL_HEALTH_ENDPOINT", "model_health_url", str, "its health URL, where the worker's code names none"),
    Variable("PYWORKER_STATE_DIR", "state_dir", Path, "where benchmark scores are kept"),
    Variable("PYWORKER_MAX_BODY_MB", "max_body_bytes", _size_mb, "largest request body in MiB (default 256)"),
    Variable(
        "PYWORKER_MAX_UNAUTHENTICATED_MB",
        "max_unauthenticated_bytes",
        _size_mb,
        "bytes in MiB held for all requests that are not yet authenticated (default 512)",
    ),
    Variable("PYWORKER_MAX_SESSION_S", "max_session_s", _positive, "longest lifetime of a session (default 3600)"),
    Variable("PYWORKER_DRAIN_S", "drain_s", _positive, "how long requests may finish after SIGTERM (default 30)"),
    Variable("PYWORKER_REPORT_INTERVAL_S", "report_interval_s", _positive, "time between reports (default 1)"),
)
_PUBLIC_PORT = Variable("VAST_TCP_PORT_<WORKER_PORT>", "public_port", _port, "the port that the outside sees")
_NEEDED_TO_REPORT = {row.name: row.use for row in VARIABLES if row.field in {"public_host", "worker_id", "mtoken"}}


# read as pairs (see _Reader.ticket_keys), by the commands, by tests
_OTHERS = frozenset(
    {
        "PYWORKER_TICKET_KEY",
        "PYWORKER_TICKET_KEY_ID",
        "PYWORKER_API_KEY",
        "PYWORKER_ENGINE",
        "PYWORKER_SDK_PYTHON",
        # start_server.sh
        "PYWORKER_REF",
        "PYWORKER_REPO",
        "PYWORKER_RETRY_S",
        "PYWORKER_ROOT",
    }
)


def unknown_variables(env: Mapping[str, str]) -> list[str]:
    """What to say of each variable that is called like one of ours and is none."""
    known = _OTHERS | {row.name for row in VARIABLES if row.name.startswith("PYWORKER_")}
    unknown = sorted(name for name in env if name.startswith("PYWORKER_") and name not in known)
    return [_unknown_variable(name, nearest(name, known)) for name in unknown]


def misspelt_variable(name: str) -> str:
    """What to say of a variable that is called like one of ours and is none; "" for any other."""
    return next(iter(unknown_variables({name: "given"})), "")


def _unknown_variable(name: str, meant: str | None) -> str:
    hint = f"did you mean {meant}?" if meant else "docs/reference/environment.md has all that there are"
    return f"the variable {name} means nothing to a worker: {hint}"


class _Reader:
    """Reads variables and collects every problem instead of stopping at the first."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.given = {name: value.strip() for name, value in env.items() if value.strip()}
        self.problems: list[str] = []

    def read(self, row: Variable, name: str) -> Any:
        try:
            return row.read(self.given[name])
        except ValueError as error:
            shown = "" if row.field == "mtoken" else f" is {self.given[name]!r}"
            self.problems.append(f"{name}{shown}: {error}. It is {row.use}.")
            return None

    def require_together(self, public_port_name: str) -> None:
        """A worker that reports must say who and where it is; one that reports to nobody need not."""
        if "REPORT_ADDR" not in self.given:
            return
        needed = _NEEDED_TO_REPORT | ({public_port_name: _PUBLIC_PORT.use} if public_port_name else {})
        self.problems += [f"{name} is missing: {use}" for name, use in needed.items() if name not in self.given]

    def ticket_keys(self) -> tuple[TicketKey, ...]:
        """PYWORKER_TICKET_KEY and PYWORKER_TICKET_KEY_ID: comma-separated, so that keys can change with an overlap."""
        keys = [part.strip() for part in self.given.get("PYWORKER_TICKET_KEY", "").split(",") if part.strip()]
        ids = [part.strip() for part in self.given.get("PYWORKER_TICKET_KEY_ID", "").split(",") if part.strip()]
        if len(keys) != len(ids):
            self.problems.append(
                f"PYWORKER_TICKET_KEY holds {len(keys)} keys and PYWORKER_TICKET_KEY_ID {len(ids)} ids: "
                "give one id for each key, as `pyworker worker token` prints them"
            )
            return ()
        return tuple(key for key in (self._ticket_key(name, text) for name, text in zip(ids, keys, strict=True)) if key)

    def _ticket_key(self, key_id: str, text: str) -> TicketKey | None:
        try:
            secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) < 16:
            self.problems.append(f"PYWORKER_TICKET_KEY (id {key_id}) is not base64url of at least 16 bytes")
            return None
        return TicketKey(key_id, secret)


def state_folder(env: Mapping[str, str]) -> Path:
    """Where this user's programs keep what they know: a fixed place, not the folder that one was started from."""
    if env.get("XDG_STATE_HOME"):
        return Path(env["XDG_STATE_HOME"]) / "pyworker"
    if env.get("HOME"):
        return Path(env["HOME"]) / ".local" / "state" / "pyworker"
    return Path(tempfile.gettempdir()) / "pyworker"
