"""Shares a loopback port through a jump host with paramiko, or asks for a command.

    paramiko_share.py HOST PORT KEY share REMOTE_PORT LOCAL_PORT
    paramiko_share.py HOST PORT KEY exec COMMAND

`share` prints "sharing PORT" once the forward stands, then one line "visitor ADDRESS PORT asked-for ADDRESS PORT" per
connection, and runs until it is killed. `exec` prints "refused" or "ran". Host keys are not checked: the tests' hosts
are new each time.
"""

import socket
import sys
import threading

import paramiko


def copy(read, write, close):
    """Moves bytes until their end, then closes that direction only."""
    while True:
        data = read(65536)
        if not data:
            break
        write(data)
    close()


def relay(channel, local_port):
    service = socket.create_connection(("127.0.0.1", local_port))
    directions = [
        threading.Thread(target=copy, args=(channel.recv, service.sendall, lambda: service.shutdown(socket.SHUT_WR))),
        threading.Thread(target=copy, args=(service.recv, channel.sendall, channel.shutdown_write)),
    ]
    for direction in directions:
        direction.start()
    for direction in directions:
        direction.join()
    channel.close()
    service.close()


def share(transport, remote_port, local_port):
    def visited(channel, origin, server):
        print("visitor", *origin, "asked-for", *server, flush=True)
        threading.Thread(target=relay, args=(channel, local_port), daemon=True).start()

    port = transport.request_port_forward("", remote_port, visited)
    print("sharing", port, flush=True)
    transport.join()


def execute(transport, command):
    channel = transport.open_session(timeout=10)
    channel.settimeout(10)
    try:
        channel.exec_command(command)
    except paramiko.SSHException:
        print("refused", flush=True)
    else:
        print("ran", flush=True)


def main():
    host, port, key, task, *rest = sys.argv[1:]
    transport = paramiko.Transport((host, int(port)))
    transport.connect(username="tunnel", pkey=paramiko.Ed25519Key.from_private_key_file(key))
    if task == "share":
        share(transport, int(rest[0]), int(rest[1]))
    else:
        execute(transport, rest[0])
        transport.close()


main()
