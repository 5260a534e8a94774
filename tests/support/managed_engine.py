"""An engine's management calls on a real socket, kept in memory: what the commands are tested against."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from pyworker.testing import Behaviour, FakeRequest, FakeServer

API_KEY = "account-key"

Answer = tuple[int, Any]


class ManagedEngine(FakeServer):
    """Speaks the calls of docs/reference/wire.md, "Managing an engine"; what it holds are plain JSON objects by id.

    ``done`` names what it was told to do to workers, keys and its store. ``logs`` are an endpoint's lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self.endpoints: dict[int, dict[str, Any]] = {}
        self.groups: dict[int, dict[str, Any]] = {}
        self.workers: dict[int, list[dict[str, Any]]] = {}  # by endpoint
        self.keys: dict[int, dict[str, Any]] = {1: {"id": 1, "name": "first", "created_epoch_s": 1.79e9}}
        self.logs: list[str] = []
        self.done: list[str] = []
        self.refuses_groups: tuple[str, ...] = ()  # by name
        self._ids = itertools.count(1)
        self._calls: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", "/api/v0/endptjobs/", lambda _: _results(self.endpoints)),
            ("POST", "/api/v0/endptjobs/", self._create_endpoint),
            ("PUT", r"/api/v0/endptjobs/(\d+)/", self._change(self.endpoints)),
            ("POST", r"/api/v0/endptjobs/(\d+)/key/", lambda *_: (200, {"success": True, "api_key": "its-new-key"})),
            ("DELETE", r"/api/v0/endptjobs/(\d+)/", self._delete(self.endpoints)),
            ("GET", "/api/v0/workergroups/", lambda _: _results(self.groups)),
            ("POST", "/api/v0/workergroups/", self._create_group),
            ("PUT", r"/api/v0/workergroups/(\d+)/", self._change(self.groups)),
            ("DELETE", r"/api/v0/workergroups/(\d+)/", self._delete(self.groups)),
            ("POST", "/get_endpoint_workers/", self._list_workers),
            ("POST", "/get_(?:endpoint|workergroup)_logs/", self._get_logs),
            ("POST", "/update_workers/", self._update),
            ("GET", r"/api/v0/workers/(\d+)/logs/", self._worker_logs),
            ("POST", r"/api/v0/workers/(\d+)/(stop|start)/", self._note_worker),
            ("DELETE", r"/api/v0/workers/(\d+)/", self._note_worker),
            ("GET", "/api/v0/keys/", lambda _: _results(self.keys)),
            ("POST", "/api/v0/keys/", self._create_key),
            ("PUT", r"/api/v0/keys/(\d+)/", self._limit_key),
            ("DELETE", r"/api/v0/keys/(\d+)/", self._delete(self.keys)),
            ("POST", "/api/v0/keys/rotate/", lambda request: self._note(f"rotate {request.json()['kind']}")),
            ("POST", "/api/v0/backup/", lambda request: self._note(f"backup {request.json()['path']}")),
        ]

    def env(self) -> dict[str, str]:
        """The environment in which commands find it."""
        return {"PYWORKER_ENGINE": self.url, "PYWORKER_API_KEY": API_KEY}

    def add_endpoint(self, name: str, **fields: Any) -> int:
        """An endpoint that is there already; its id."""
        return self._add_endpoint({"endpoint_name": name, **fields})

    def add_group(self, endpoint_id: int, name: str, **fields: Any) -> int:
        """A workergroup that is there already; its id."""
        group_id = next(self._ids)
        named = {"endpoint_id": endpoint_id, "endpoint_name": self.endpoints[endpoint_id]["endpoint_name"]}
        self.groups[group_id] = {"id": group_id, **named, "name": name, "template_hash": name, **fields}
        return group_id

    def add_worker(self, endpoint_id: int, worker_id: int, status: str, **fields: Any) -> None:
        """A worker that is there."""
        numbers = ("cur_load", "new_load", "cur_load_rolling_avg", "cur_perf", "perf", "measured_perf", "dlperf")
        worker: dict[str, Any] = {**dict.fromkeys(numbers, 0.0), "reliability": 1.0, "reqs_working": 0, "url": ""}
        worker |= {"id": worker_id, "status": status, "disk_usage": 0.0, "loaded_at": 0.0, "started_at": 1.79e9}
        self.workers.setdefault(endpoint_id, []).append({**worker, **fields})

    # --- the calls ---

    def _own(self, request: FakeRequest) -> Behaviour:
        status, body = self._answer_to(request)

        async def behave(request: FakeRequest) -> None:
            await request.answer(body, status=status)

        return behave

    def _answer_to(self, request: FakeRequest) -> Answer:
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return _refused(401, "wrong_key", "The API key is missing or wrong")
        for method, path, call in self._calls:
            match = re.fullmatch(path, request.path)
            if match and method == request.method:
                return call(request, *match.groups())
        return _refused(404, "not_found", "404: Not Found")

    def _create_endpoint(self, request: FakeRequest) -> Answer:
        body = request.json()
        if any(body["endpoint_name"] == each["endpoint_name"] for each in self.endpoints.values()):
            return _refused(400, "bad_request", f"the endpoint {body['endpoint_name']!r} is there already")
        return 200, {"success": True, "result": self._add_endpoint(body)}

    def _add_endpoint(self, fields: dict[str, Any]) -> int:
        endpoint_id = next(self._ids)
        own = {"id": endpoint_id, "api_key": "endpoint-key", "created_at": 1.79e9, "max_queue_time": 30.0}
        self.endpoints[endpoint_id] = own | fields
        return endpoint_id

    def _create_group(self, request: FakeRequest) -> Answer:
        body = request.json()
        if body["name"] in self.refuses_groups:
            return _refused(400, "bad_request", "there is no GPU here")
        endpoint_id = next(i for i, e in self.endpoints.items() if e["endpoint_name"] == body["endpoint_name"])
        group_id = next(self._ids)
        self.groups[group_id] = {**body, "id": group_id, "endpoint_id": endpoint_id}
        return 200, {"success": True, "id": group_id}

    def _change(self, kept: dict[int, dict[str, Any]]) -> Callable[..., Answer]:
        def change(request: FakeRequest, number: str) -> Answer:
            changes = request.json()
            version = kept[int(number)].get("version", 1) + ("launch" in changes)
            kept[int(number)] |= changes | {"version": version}
            return 200, {"success": True}

        return change

    def _delete(self, kept: dict[int, dict[str, Any]]) -> Callable[..., Answer]:
        def delete(_: FakeRequest, number: str) -> Answer:
            if kept.pop(int(number), None) is None:
                return _refused(404, "not_found", f"there is none with the id {number}")
            return 200, {"success": True}

        return delete

    def _list_workers(self, request: FakeRequest) -> Answer:
        return 200, self.workers.get(request.json()["id"], [])

    def _get_logs(self, request: FakeRequest) -> Answer:
        text = "\n".join(self.logs[-request.json()["tail"] :])
        return 200, {"info0": text, "info1": "", "trace": "", "debug": "zz details"}

    def _update(self, request: FakeRequest) -> Answer:
        body = request.json()
        return self._note(f"{'cancel' if body.get('cancel_update') else 'update'} {body['workergroup_id']}")

    def _worker_logs(self, request: FakeRequest, number: str) -> Answer:
        tail = request.query["tail"]
        return 200, {
            "success": True,
            "logs": {"model.log": ["loaded"], "worker.log": [f"worker {number}", f"tail {tail}"]},
        }

    def _note_worker(self, _: FakeRequest, number: str, what: str = "delete") -> Answer:
        return self._note(f"{what} {number}")

    def _create_key(self, request: FakeRequest) -> Answer:
        key_id = next(self._ids) + 100
        given = {name: value for name, value in request.json().items() if value is not None}
        self.keys[key_id] = {"id": key_id, "created_epoch_s": 1.79e9, **given}
        return 200, {"success": True, "id": key_id, "name": "a", "api_key": "a-new-key"}

    def _limit_key(self, request: FakeRequest, number: str) -> Answer:
        if int(number) not in self.keys:
            return _refused(404, "not_found", f"there is none with the id {number}")
        self.keys[int(number)] |= {name: value for name, value in request.json().items() if value is not None}
        return 200, {"success": True}

    def _note(self, what: str) -> Answer:
        self.done.append(what)
        return 200, {"success": True}


def _results(kept: dict[int, dict[str, Any]]) -> Answer:
    return 200, {"success": True, "results": list(kept.values())}


def _refused(status: int, word: str, words: str) -> Answer:
    return status, {"success": False, "error": word, "msg": words}
