"""An SSH server of asyncssh's on a free loopback port, which forwards in both directions for one key.

    asyncssh_server.py AUTHORIZED_KEYS [old]

With `old` as old equipment has it: group 14 and HMAC over SHA-1, and of user keys nothing but RSA signatures over SHA-1.
Prints "listening PORT", and a line for each login: "login USER".
"""

import asyncio
import sys

import asyncssh


OLD = {
    "kex_algs": ["diffie-hellman-group14-sha1"],
    "encryption_algs": ["aes128-ctr"],
    "mac_algs": ["hmac-sha1"],
    "signature_algs": ["ssh-rsa"],
}


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
    is_old = sys.argv[2:] == ["old"]
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[asyncssh.generate_private_key("ssh-rsa" if is_old else "ssh-ed25519")],
        authorized_client_keys=sys.argv[1],
        **(OLD if is_old else {}),
    )
    print("listening", acceptor.get_port(), flush=True)
    await acceptor.wait_closed()


asyncio.run(main())
