"""Runs in the SDK's Python: makes the calls that argv[1] says and prints what came, as JSON. See sdk.py."""

# ruff: noqa: BLE001, PERF401, T201

import asyncio
import json
import sys

from vastai import Serverless


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


async def main(task):
    Serverless.SSL_CERT_URL = task["engine"] + "/static/jvastai_root.cer"
    results = []
    async with Serverless(
        api_key=task["api_key"], autoscaler_url=task["engine"], webserver_url=task["engine"]
    ) as client:
        try:
            endpoint = await client.get_endpoint(task["endpoint"])
            for said in task["calls"]:
                results.append(await call(endpoint, said))
        except Exception as error:
            results.append({"raised": str(error)})
    print(json.dumps(results))


asyncio.run(main(json.loads(sys.argv[1])))
