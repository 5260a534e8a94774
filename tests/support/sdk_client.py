"""Runs in the SDK's Python: makes the calls that argv[1] says and prints what came, as JSON. See sdk.py."""

# ruff: noqa: BLE001, T201

import asyncio
import json
import sys

from vastai import Serverless
from vastai.data.endpoint import EndpointConfig
from vastai.data.workergroup import WorkergroupConfig


async def call(endpoint, said):
    if said["do"] == "workers":
        return [vars(worker) for worker in await endpoint.get_workers()]
    if said["do"] == "session":
        async with await endpoint.session(cost=said.get("cost", 100), lifetime=30) as session:
            answers = [await session.request(said["route"], said["payload"]) for _ in range(2)]
            was_open = await session.is_open()
        return {"statuses": [answer["status"] for answer in answers], "was_open": was_open, "is_open": session.open}
    is_stream = said["do"] == "stream"
    result = await endpoint.request(said["route"], said["payload"], cost=said.get("cost", 100), stream=is_stream)
    if is_stream and result["ok"]:
        return {"status": result["status"], "events": [event async for event in result["response"]]}
    return {name: result[name] for name in ("status", "response", "url")}


async def manage(client, said):
    """One endpoint with one workergroup from beginning to end."""
    made = await client.create_endpoint(EndpointConfig(**said["endpoint"]))
    group_id = await client.create_workergroup(WorkergroupConfig(endpoint_id=made.id, **said["group"]))
    seen = {"found": await client.find_workergroup_for_endpoint(made.id) == group_id}
    seen["endpoint"] = plain(await client.fetch_endpoint(made.id))
    named = await client.get_endpoint(said["endpoint"]["endpoint_name"])
    for step in said["steps"]:
        seen[step["do"]] = await call(named, step)
    seen["managed"] = (await made.request(said["steps"][0]["route"], said["steps"][0]["payload"]))["response"]
    seen["listed"] = [worker.status for worker in await client.get_endpoint_workers(named)]
    seen["updated"] = await client.update_workers(group_id)
    await client.delete_workergroup(group_id)
    seen["group_left"] = await client.find_workergroup_for_endpoint(made.id)
    await client.delete_endpoint(made.id)
    seen["left"] = [one.name for one in await client.get_endpoints()]
    return seen


async def create_group(client, said):
    return await client.create_workergroup(WorkergroupConfig(**said["group"]))


MANAGED = {"manage": manage, "create_group": create_group}


def plain(data):
    return {**vars(data), "config": vars(data.config)}


async def main(task):
    Serverless.SSL_CERT_URL = task["engine"] + "/static/jvastai_root.cer"
    results = []
    async with Serverless(
        api_key=task["api_key"], autoscaler_url=task["engine"], webserver_url=task["engine"]
    ) as client:
        try:
            endpoint = await client.get_endpoint(task["endpoint"])
            for said in task["calls"]:
                managed = MANAGED.get(said["do"])
                results.append(await (managed(client, said) if managed else call(endpoint, said)))
        except Exception as error:
            results.append({"raised": str(error)})
    print(json.dumps(results))


asyncio.run(main(json.loads(sys.argv[1])))
