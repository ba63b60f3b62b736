"""Logs in with a client version of the caller's choice, which OpenSSH does not offer, and shares a port.

    hostile_client.py HOST PORT KEY REMOTE_PORT VERSION

Prints "sharing" once the forward stands, "refused" when the server does not talk to such a client; runs until it is killed.
The host key is not checked: the stories' hosts are new each time.
"""

import logging
import sys

import paramiko


def main():
    host, port, key, remote_port, version = sys.argv[1:]
    # Its own complaints about an end that the story asked for.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    transport = paramiko.Transport((host, int(port)))
    transport.local_version = version
    try:
        transport.connect(username="tunnel", pkey=paramiko.Ed25519Key.from_private_key_file(key))
    except (paramiko.SSHException, EOFError, OSError):
        print("refused", flush=True)
        return
    transport.request_port_forward("", int(remote_port))
    print("sharing", flush=True)
    transport.join()


main()
