"""A `ProxyCommand` whose link has a delay, where the kernel has no `netem`: `delay.py HOST PORT MILLISECONDS`, each way."""

import asyncio
import os
import socket
import sys


async def main(host, port, milliseconds):
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    server = socket.create_connection((host, int(port)))
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def carry(source, read, write, end):
        def ready():
            data = read()
            if not data:
                loop.remove_reader(source)
            loop.call_later(float(milliseconds) / 1000, write if data else end, *([data] if data else []))

        loop.add_reader(source, ready)

    carry(0, lambda: os.read(0, 65536), server.sendall, lambda: server.shutdown(socket.SHUT_WR))
    carry(server, lambda: server.recv(65536), lambda data: os.write(1, data), over.set)
    await over.wait()


asyncio.run(main(*sys.argv[1:]))
