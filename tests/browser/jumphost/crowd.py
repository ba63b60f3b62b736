"""Many members at once: logs in with each of the keys in turn and shares ports, all of them from one process.

    crowd.py HOST PORT SESSIONS FORWARDS FIRST_PORT LOCAL_PORT KEY…

Session n takes the n-th key, round and round, and the FORWARDS ports after those of the session before it. Prints "live" once
all stand, and "lost N" each time a session has ended, N being how many have; runs until it is killed. A line "touch" on
standard input sends each of its ports one visitor, so that every row of a page has something new to show.
The host key is not checked: the stories' hosts are new each time.
"""

import asyncio
import sys

import asyncssh

# More would only wait for the server's gate before login, and all of them for this one process.
AT_ONCE = 16


async def visit(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    await reader.read()
    writer.close()


async def main():
    host, *numbers = sys.argv[1:7]
    port, sessions, forwards, first_port, local_port = map(int, numbers)
    keys = [asyncssh.read_private_key(file) for file in sys.argv[7:]]
    gate = asyncio.Semaphore(AT_ONCE)
    lost = 0

    async def watch(connection):
        nonlocal lost
        await connection.wait_closed()
        lost += 1
        print("lost", lost, flush=True)

    async def join(number):
        options = {"username": "tunnel", "known_hosts": None, "config": None, "agent_path": None}
        async with gate:
            connection = await asyncssh.connect(host, port, client_keys=[keys[number % len(keys)]], **options)
            for remote in range(first_port + number * forwards, first_port + (number + 1) * forwards):
                await connection.forward_remote_port("", remote, "127.0.0.1", local_port)
        return asyncio.create_task(watch(connection))

    watches = await asyncio.gather(*(join(number) for number in range(sessions)))
    print("live", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline) == "touch\n":
        for remote in range(first_port, first_port + sessions * forwards):
            await visit(host, remote)
        print("touched", flush=True)
    await asyncio.gather(*watches)


asyncio.run(main())
