"""What the processes of an instance find around them: placeholders filled in, and their environment. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pyworker.instance.order import Order

__all__ = [
    "Chosen",
    "inherited",
    "logs_by_itself",
    "model_environment",
    "redacted",
    "secrets_in",
    "without_workers_own",
    "worker_environment",
]

# of the engine's own environment its workers get this and no more: none of it is a secret of the engine's
_HANDED_ON: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|DYLD_\w+|PYTHONPATH"
    r"|VIRTUAL_ENV|CONDA_\w+|XDG_\w+|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|ROCR?_\w+|HIP_\w+|OMP_\w+|MKL_\w+|HF_HOME|HF_HUB_OFFLINE"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|(?:https?|no|all)_proxy|(?:HTTPS?|NO|ALL)_PROXY"
)
_WORKERS_ALONE: Final = frozenset({"MASTER_TOKEN", "PYWORKER_TICKET_KEY", "PYWORKER_TICKET_KEY_ID"})
_ENGINES_ALONE: Final = "PYWORKER_API_KEY"
_SECRET: Final = re.compile(r"TOKEN|KEY|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
_SHORTEST_SECRET: Final = 6  # what is shorter (an id, "true") would only make holes in a text
_LOOPBACK: Final = ("127.", "localhost", "::1")


class Chosen(NamedTuple):
    """What was chosen for one start."""

    folder: str
    python: str
    model_log: str
    state: str
    worker_port: int
    worker_http_port: int
    model_port: int

    def fill(self, text: str) -> str:
        """The text with its placeholders filled in; other braces stay as they are."""
        for name in ("model_port", "worker_port", "model_log", "folder", "python"):
            text = text.replace("{" + name + "}", str(getattr(self, name)))
        return text


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What of this process's environment may reach an instance."""
    return {name: value for name, value in environment.items() if _HANDED_ON.fullmatch(name)}


def worker_environment(order: Order, chosen: Chosen, around: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: ``around``, then what was chosen, then what the order says, then what must be so."""
    usual = {"PYTHONUNBUFFERED": "1", "PUBLIC_IPADDR": order.public_address}
    if order.public_address.startswith(_LOOPBACK):
        usual["WORKER_HOST"] = order.public_address
    if order.model is not None:
        usual |= {"MODEL_LOG": chosen.model_log, "MODEL_SERVER_URL": f"http://127.0.0.1:{chosen.model_port}"}
    must = {
        "WORKER_PORT": str(chosen.worker_port),
        "WORKER_HTTP_PORT": str(chosen.worker_http_port),
        f"VAST_TCP_PORT_{chosen.worker_port}": str(chosen.worker_port),
        "PYWORKER_STATE_DIR": chosen.state,
        "PYWORKER_DRAIN_S": f"{max(order.drain_s, 0.001):g}",
    }
    if order.gpus:
        must |= {"CUDA_VISIBLE_DEVICES": ",".join(order.gpus)}
        usual |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # which is how they are counted where they are looked for
    said = {name: chosen.fill(value) for name, value in order.environment.items()}
    given = {**around, **usual, **said, **must}
    given.pop(_ENGINES_ALONE, None)
    return given


def model_environment(order: Order, chosen: Chosen, around: Mapping[str, str]) -> dict[str, str]:
    """The model server's: the same without the worker's own secrets."""
    return without_workers_own(worker_environment(order, chosen, around))


def without_workers_own(environment: Mapping[str, str]) -> dict[str, str]:
    """What a model server may know of its worker's environment."""
    return {name: value for name, value in environment.items() if name not in _WORKERS_ALONE}


def logs_by_itself(order: Order) -> bool:
    """Whether the model server is told where its log is, and so writes it."""
    return any("{model_log}" in text for text in (*(order.model or ()), *order.environment.values()))


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """The values that are nobody's business, the longest first; which they are their names say."""
    values = {value for name, value in environment.items() if _SECRET.search(name)}
    return sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
