"""Speaks the Model Context Protocol with the client of its own Python SDK.

    mcp_client.py REVISION STEPS stdio COMMAND [ARGUMENT...]
    mcp_client.py REVISION STEPS http URL [AUTHORIZATION]

STEPS is a JSON list of calls, each a list: a method of the SDK's client and its arguments. Prints one JSON object: the
"revision" that was agreed on, and under "answers" what came of each step, {"error": …} where the protocol says so.
REVISION is the one that is wanted; one before 2026-07-28 begins with the handshake. The server has our environment. The
client checks each answer of a tool against the schema that the server told.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


async def step(client, method, *arguments):
    try:
        answer = await getattr(client, method)(*arguments)
    except MCPError as error:
        return {"error": error.error.model_dump(mode="json")}
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


async def run(server, revision, steps):
    mode = "auto" if revision >= "2026-07-28" else "legacy"
    async with Client(server, mode=mode, read_timeout_seconds=60) as client:
        answers = [await step(client, *each) for each in steps]
        return {"revision": client.protocol_version, "answers": answers}


async def main(revision, steps, transport, *where):
    if transport == "stdio":
        server = StdioServerParameters(command=where[0], args=list(where[1:]), env=dict(os.environ))
        return await run(server, revision, steps)
    headers = {"Authorization": where[1]} if len(where) > 1 else {}
    async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
        return await run(streamable_http_client(where[0], http_client=http), revision, steps)


revision, steps, *where = sys.argv[1:]
print(json.dumps(asyncio.run(main(revision, json.loads(steps), *where))))
