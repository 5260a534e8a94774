"""The command line of a worker's ``test_load.py`` and ``client.py``: which engine, which endpoint, how much."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import random
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from pyworker.api import ApiPayload
from pyworker.client import Client
from pyworker.client.instances import INSTANCES, Instance, instance_of
from pyworker.client.management import list_endpoints
from pyworker.errors import BadRequest
from pyworker.load.arrivals import Steady, due_times, gaps
from pyworker.load.outcome import Outcome
from pyworker.load.run import Clock, Send, take_answer
from pyworker.load.summary import Summary
from pyworker.load.trace import Arrival
from pyworker.load.trial import Results, run_trial, watch
from pyworker.settings import environment

__all__ = ["client_payload", "connect", "load_cmd", "print_truncate_res", "run", "test_args", "test_load_cmd"]

SHOWN_CHARS: Final = 300

MakePayload = Callable[[], tuple[dict[str, Any], float]]  # a payload and its workload

test_args = argparse.ArgumentParser(description="Calls an endpoint's workers through its engine.")
test_args.add_argument(
    "-k", "--api-key", dest="api_key", metavar="KEY", help="the account's key (or $PYWORKER_API_KEY)"
)
test_args.add_argument(
    "-e", "--endpoint", dest="endpoint_group_name", metavar="NAME", required=True, help="the endpoint"
)
test_args.add_argument(
    "-i",
    "--instance",
    choices=list(INSTANCES),
    default="local",
    help="which engine (default: local, http://localhost:8080)",
)
test_args.add_argument(
    "-l", "--local", dest="instance", action="store_const", const="local", help="the same as -i local"
)
test_args.add_argument("--engine", metavar="URL", help="the address of an engine of your own, instead of -i")


def test_load_cmd(payload_cls: type[ApiPayload], route: str, arg_parser: argparse.ArgumentParser) -> None:
    """Load-test ``route`` with payloads of ``payload_cls.for_test()``, as the command line says; then exit.

    The status is 0 when every request was answered with 2xx, 1 when not, 130 after Ctrl-C; the summary comes anyway.
    """
    sys.exit(_load(lambda: _with_cost(payload_cls.for_test()), route, arg_parser))


def load_cmd(
    make_payload: Callable[[], dict[str, Any]],
    workload: Callable[[dict[str, Any]], float],
    route: str,
    arg_parser: argparse.ArgumentParser,
) -> None:
    """The same for a worker without payload classes: by what makes its benchmark's payloads and counts them."""

    def make() -> tuple[dict[str, Any], float]:
        payload = make_payload()
        return payload, workload(payload)

    sys.exit(_load(make, route, arg_parser))


def run(payload_instance: ApiPayload, route: str) -> None:
    """The same, with one payload for all requests."""
    sys.exit(_load(lambda: _with_cost(payload_instance), route, test_args))


def connect(args: argparse.Namespace, on_obstacle: Callable[[str], None] | None = None) -> Client:
    """A client for the engine and the key that the command line names. Raises PyWorkerError.

    ``on_obstacle`` is told what a call waits for.
    """
    api_key = args.api_key or environment().get("PYWORKER_API_KEY")
    if not api_key:
        raise BadRequest("no API key: give -k or set PYWORKER_API_KEY; `pyworker engine` shows it when it makes one")
    instance = instance_of(args.engine or args.instance)
    key = api_key if instance.is_ours else _endpoint_key(instance, args.endpoint_group_name, api_key)
    return Client(instance.engine_url, key, web_url=instance.web_url, on_obstacle=on_obstacle)


def client_payload(payload: ApiPayload) -> dict[str, Any]:
    """The JSON that makes the worker's ``from_json_msg`` give this payload again: its fields."""
    return dataclasses.asdict(payload)


def print_truncate_res(res: str) -> None:
    """Print an answer, its middle left out when it is long."""
    half = SHOWN_CHARS // 2
    left_out = len(res) - 2 * half
    sys.stdout.write((res if left_out <= 0 else f"{res[:half]} [... {left_out} more ...] {res[-half:]}") + "\n")


def _with_cost(payload: ApiPayload) -> tuple[dict[str, Any], float]:
    return client_payload(payload), payload.count_workload()


def _load(make: MakePayload, route: str, arg_parser: argparse.ArgumentParser) -> int:
    args = _parser(arg_parser).parse_args()
    name, count, rate_per_s = args.endpoint_group_name, args.num_requests, args.requests_per_second
    due = itertools.islice(due_times(Steady(rate_per_s), gaps("constant", random.Random())), count)  # noqa: S311
    results = Results(
        f"{name} {route}", {"requests": str(count), "rate": f"{rate_per_s:g}/s"}, args.json_file, args.html_file
    )

    @asynccontextmanager
    async def sender(summary: Summary) -> AsyncGenerator[Send]:
        make()  # the first may load word lists and the like, which would make requests late
        async with connect(args, summary.met) as client:
            yield _sending(client, name, route, make)

    arrivals = (Arrival(due_s, 0, 0) for due_s in due)
    return run_trial(sender, arrivals, Summary(), results, watch(results.title, count))


def _sending(client: Client, endpoint: str, route: str, make: MakePayload) -> Send:
    async def send(_: Arrival, outcome: Outcome, clock: Clock) -> None:
        payload, cost = make()
        async with client.call(endpoint, route, payload, cost=cost) as answer:
            await take_answer(answer, outcome, clock)

    return send


def _parser(base: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=base.description, parents=[base], conflict_handler="resolve")
    parser.add_argument("-n", dest="num_requests", type=_count, default=100, metavar="N", help="requests (default 100)")
    parser.add_argument(
        "-rps", dest="requests_per_second", type=_rate, default=1.0, metavar="R", help="requests per second (default 1)"
    )
    parser.add_argument("--json", dest="json_file", type=Path, metavar="FILE", help="write the result there as JSON")
    parser.add_argument("--html", dest="html_file", type=Path, metavar="FILE", help="... and as a page with plots")
    return parser


def _endpoint_key(instance: Instance, name: str, account_key: str) -> str:
    for endpoint in list_endpoints(instance.web_url, account_key):
        if endpoint.get("endpoint_name") == name:
            return str(endpoint["api_key"])
    raise BadRequest(f"this account has no endpoint {name!r} at {instance.web_url}")


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return count


def _rate(text: str) -> float:
    rate_per_s = float(text)
    if not 0 < rate_per_s < 1e6:
        raise argparse.ArgumentTypeError("must be above 0")
    return rate_per_s
