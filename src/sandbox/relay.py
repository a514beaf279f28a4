# SPDX-License-Identifier: GPL-2.0
"""Carries bytes between inherited sockets and a TCP port of the jail's own loopback.

usage: relay.py PORT DESCRIPTOR...

Each descriptor serves one connection. It is dialled when the first byte for it arrives: a forwarded port
accepts before anybody listens in the guest, and would then end a connection that was opened too early.
"""
import socket
import sys
import threading


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass  # the other direction ends the same way
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already


def serve(descriptor, port):
    near = socket.socket(fileno=descriptor)
    first = near.recv(65536)
    if not first:
        return
    try:
        far = socket.create_connection(("127.0.0.1", port))
    except OSError:
        near.close()
        return
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far.sendall(first)
    threading.Thread(target=pump, args=(far, near), daemon=True).start()
    pump(near, far)


port = int(sys.argv[1])
threads = [threading.Thread(target=serve, args=(int(n), port)) for n in sys.argv[2:]]
for thread in threads:
    thread.start()
