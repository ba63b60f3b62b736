"""The two ends of a WebSocket conversation.

    websocket_peer.py serve
    websocket_peer.py visit HOST PORT NAME

`serve` prints "listening PORT" of a loopback port, tells every visitor the Host header it came with, and then sends
back each message as it came. `visit` connects to HOST:PORT, calls the server NAME, says things of every kind, and prints
"HOST-HEADER" and "all came back" once they did.
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

# Above what either end sends in one frame by default.
LARGEST = 4 << 20


async def echo(connection):
    await connection.send(connection.request.headers["Host"])
    async for message in connection:
        await connection.send(message)


async def listen():
    async with serve(echo, "127.0.0.1", 0, max_size=LARGEST, compression=None) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


async def visit(host, port, name):
    async with connect(f"ws://{name}/", host=host, port=port, max_size=LARGEST, compression=None) as connection:
        print(await connection.recv(), flush=True)
        large = bytes(range(256)) * 4096
        for message in ["hello", "", "Grüße, 世界", b"", b"\x00\xff", large, "x" * len(large)]:
            await connection.send(message)
            back = await asyncio.wait_for(connection.recv(), 10)
            assert back == message and type(back) is type(message), message[:20]
        # A ping is answered while a large message is on its way.
        sending = asyncio.ensure_future(connection.send(large))
        await asyncio.wait_for(await connection.ping(b"are you there"), 10)
        await sending
        assert await asyncio.wait_for(connection.recv(), 10) == large
        # In pieces, as a stream of unknown length goes.
        await connection.send(["one ", "two ", "three"])
        assert await asyncio.wait_for(connection.recv(), 10) == "one two three"
    assert connection.close_code == 1000, connection.close_code
    print("all came back", flush=True)


task, *rest = sys.argv[1:]
if task == "serve":
    asyncio.run(listen())
else:
    asyncio.run(visit(rest[0], int(rest[1]), rest[2]))
