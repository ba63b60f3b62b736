"""An SSH server of asyncssh's on a free loopback port, which forwards in both directions for one key.

    asyncssh_server.py AUTHORIZED_KEYS

Prints "listening PORT", and a line for each login: "login USER".
"""

import asyncio
import sys

import asyncssh


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        self.username = username
        return True

    def auth_completed(self):
        print("login", self.username, flush=True)

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return True

    def server_requested(self, listen_host, listen_port):
        return True


async def main():
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=sys.argv[1],
    )
    print("listening", acceptor.get_port(), flush=True)
    await acceptor.wait_closed()


asyncio.run(main())
