"""One port at all addresses of a name.

    localhost  ->  127.0.0.1 and ::1, on most machines

A client takes the first address that answers, and which one comes first is up to its system. So a
server listens at all of them; but some names have addresses that their machine lacks.

Source: RFC 6724 and RFC 8305, on how clients choose.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

DRAWS = 20
"""How often a port is drawn that may be taken at another address."""


async def addresses_of(host: str) -> list[str]:
    """The addresses of a name, in the system's order; without a name, those that mean any. Raises
    OSError if there is no such name."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return list(dict.fromkeys(str(name[0]) for *_, name in found))


def free_port(address: str) -> int | None:
    """A port that is free at an address; None if this machine has no such address."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as free:
            free.bind((address, 0))
            return int(free.getsockname()[1])
    except OSError:
        return None


async def missing(host: str) -> list[str]:
    """The addresses of a name that this machine lacks."""
    return [each for each in await addresses_of(host) if free_port(each) is None]


async def listen(
    new_protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int, **options: Any
) -> asyncio.Server:
    """Listen at all addresses of a name that this machine has, at one port (0: a free one). Raises
    OSError if there is none, or if the port is taken at one of them."""
    create = asyncio.get_running_loop().create_server
    addresses = await addresses_of(host)
    if len(addresses) == 1:
        return await create(new_protocol, addresses[0], port, **options)
    here = [each for each in addresses if free_port(each) is not None] or addresses
    for _ in range(DRAWS):
        try:
            return await create(new_protocol, here, port or free_port(here[0]), **options)
        except OSError as problem:
            if port or problem.errno != errno.EADDRINUSE:
                raise
            taken = problem
    raise taken
