"""A container without a network reaches nothing but the sockets among its mounts."""

import asyncio
import os
import socket
import sys

from hyperhive.containers.keeper import Exit
from hyperhive.testing.backend_conformance.ground import Ground, hive, output


async def nothing_of_the_network_is_reached(ground: Ground) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0hyperhive-conformance-{os.getpid()}")
    abstract.listen()
    program = f"""
import socket
def reach(name, family, address):
    s = socket.socket(family)
    s.settimeout(3)
    try:
        s.connect(address)
        print(name, "reached")
    except OSError as error:
        print(name, "no")
reach("loopback", socket.AF_INET, {listener.getsockname()!r})
reach("abstract", socket.AF_UNIX, "\\0hyperhive-conformance-{os.getpid()}")
reach("internet", socket.AF_INET, ("192.0.2.1", 443))
reach("internet6", socket.AF_INET6, ("2001:db8::1", 443))
try:
    socket.getaddrinfo("example.org", 443)
    print("names reached")
except OSError:
    print("names no")
print(",".join(name for _, name in socket.if_nameindex()))
"""
    with listener, abstract:
        _, lines = await output(ground, ground.spec("-c", program))
    assert lines == ["loopback no", "abstract no", "internet no", "internet6 no", "names no", "lo"], lines


async def a_socket_among_the_mounts_is_reached_and_shows_who_asks(ground: Ground) -> None:
    place = await ground.mount("agent", inside="/run/hive", writable=False)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place.source / "mcp.sock"))
    await asyncio.to_thread((place.source / "mcp.sock").chmod, 0o666)
    listener.listen()
    with listener:
        program = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/hive/mcp.sock'); print(s.recv(9))"
        async with hive(ground) as runtime:
            running = await runtime.start(ground.spec("-c", program, mounts=(place,)))
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                who = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                await asyncio.to_thread(connection.send, b"hello")
            assert await running.wait() == Exit(status=0)
    assert int.from_bytes(who[4:8], sys.byteorder) == (os.geteuid() if ground.uid is None else ground.uid)
