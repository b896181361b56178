"""A server listens at every address that its name has and its machine has, at one port."""

import asyncio
import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from programs import killed_at_the_end, talk

from stages import addresses, basic, serve

HERE, ALSO_HERE, NOT_HERE = "127.0.0.1", "127.0.0.2", "192.0.2.1"

pytestmark = pytest.mark.skipif(
    addresses.free_port(ALSO_HERE) is None, reason="this system has one loopback address only"
)


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that every name has; a test may add some."""
    found = [HERE, ALSO_HERE]

    async def addresses_of(_: str) -> list[str]:
        return found

    monkeypatch.setattr(addresses, "addresses_of", addresses_of)
    return found


async def is_served(host: str, port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    with closing(writer):
        writer.write(b"hello\n")
        return b"error" in await reader.readline()


async def test_with_port_0_all_addresses_have_the_same_port(name: list[str]) -> None:
    async with serve.listening(basic.Server(), "localhost", 0) as port:
        assert await is_served(HERE, port)
        assert await is_served(ALSO_HERE, port)


async def test_an_address_that_the_machine_lacks_is_left_out(name: list[str]) -> None:
    name.insert(0, NOT_HERE)
    async with serve.listening(basic.Server(), "localhost", 0) as port:
        assert await is_served(ALSO_HERE, port)
    assert await addresses.missing("localhost") == [NOT_HERE]


async def test_a_name_of_which_the_machine_has_nothing_is_refused(name: list[str]) -> None:
    name[:] = [NOT_HERE, NOT_HERE]
    with pytest.raises(OSError, match="bind"):
        async with serve.listening(basic.Server(), "localhost", 0):
            pass


async def test_a_port_that_is_taken_at_another_address_is_drawn_again(
    name: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((ALSO_HERE, 0)) as taken, socket.create_server((HERE, 0)) as free:
        ports = [taken.getsockname()[1], free.getsockname()[1]]
        free.close()
        drawn: Iterator[int | None] = iter(2 * [1] + ports)  # the first two ask what is here
        monkeypatch.setattr(addresses, "free_port", lambda address: next(drawn))
        async with serve.listening(basic.Server(), "localhost", 0) as port:
            assert port == ports[1]
            assert await is_served(ALSO_HERE, port)


async def test_a_port_that_is_asked_for_must_be_free_at_all_addresses(name: list[str]) -> None:
    with socket.create_server((ALSO_HERE, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as problem:
            async with serve.listening(basic.Server(), "localhost", port):
                pass
        assert problem.value.errno == errno.EADDRINUSE
        assert not await is_served(HERE, port)


async def test_a_name_means_its_addresses_and_an_address_itself() -> None:
    assert HERE in await addresses.addresses_of("localhost")
    assert await addresses.addresses_of(HERE) == [HERE]
    assert await addresses.addresses_of("::1") == ["::1"]
    assert "0.0.0.0" in await addresses.addresses_of("")


NAMED = f"""
import runpy, socket, sys
real = socket.getaddrinfo
def named(host, *rest, **more):
    each = ["{NOT_HERE}", "{HERE}", "{ALSO_HERE}"] if host == "localhost" else [host]
    return [found for address in each for found in real(address, *rest, **more)]
socket.getaddrinfo = named
runpy.run_module("stages.basic", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("quiet", [False, True], ids=["", "quiet"])
def test_what_was_left_out_is_told_in_the_log_after_the_port(quiet: bool) -> None:
    command = [sys.executable, "-W", "error", "-c", NAMED, "0", *["--quiet"] * quiet]
    with killed_at_the_end(command) as process:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        talk(port, "quit\n")
        process.terminate()
        out = process.stdout.read()
        assert process.stderr
        err = process.stderr.read()
    told = f"Not at {NOT_HERE}, an address of localhost that this machine lacks\n"
    assert out.partition("New client")[0] == ("stages.basic stopped\n" if quiet else told)
    assert err == ""
