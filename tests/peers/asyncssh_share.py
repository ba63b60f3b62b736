"""Shares a loopback port through a jump host with asyncssh, or asks for a command.

    asyncssh_share.py HOST PORT KEY share REMOTE_PORT LOCAL_PORT
    asyncssh_share.py HOST PORT KEY exec COMMAND

`share` prints "sharing PORT" once the forward stands, and runs until it is killed; a line on standard input closes the
forward and prints "closed". `exec` prints "refused" or "ran". Host keys are not checked: the tests' hosts are new each
time.
"""

import asyncio
import sys

import asyncssh


async def share(connection, remote_port, local_port):
    listener = await connection.forward_remote_port("", remote_port, "127.0.0.1", local_port)
    print("sharing", listener.get_port(), flush=True)
    told = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    lost = asyncio.ensure_future(connection.wait_closed())
    done, _ = await asyncio.wait([told, lost], return_when=asyncio.FIRST_COMPLETED)
    if lost in done:
        raise SystemExit(255)
    listener.close()
    await listener.wait_closed()
    print("closed", flush=True)
    await lost


async def execute(connection, command):
    try:
        await asyncio.wait_for(connection.run(command, check=True), 10)
    except asyncssh.Error:
        print("refused", flush=True)
    else:
        print("ran", flush=True)


async def main():
    host, port, key, task, *rest = sys.argv[1:]
    options = {"username": "tunnel", "client_keys": [key], "known_hosts": None, "config": None, "agent_path": None}
    async with asyncssh.connect(host, int(port), **options) as connection:
        if task == "share":
            await share(connection, int(rest[0]), int(rest[1]))
        else:
            await execute(connection, rest[0])


asyncio.run(main())
