"""A network in memory, for the loops of one thread.

`asyncio.start_server` and `asyncio.open_connection` ask the loop that runs for `create_server` and
`create_connection`. These connect within this program, and what they carry is counted to the byte:
a sender waits as soon as a reader has not taken `End.capacity`.

Source: TCP as its users see it (RFC 9293), and asyncio's transports.
"""

import asyncio
import errno
import itertools
import socket
from collections.abc import Callable
from typing import Any, Self, TypeVar

from stages.lab.simulated import NotInABrowser

HOST = "127.0.0.1"

Address = tuple[str, int]

Protocol = Any
"""asyncio calls it a protocol: who is told what comes."""


def fault(number: int, text: str) -> OSError:
    return OSError(number, text)  # Python makes it the subclass of that number


class End(asyncio.Transport):
    """One end of a connection, and its socket."""

    capacity = 2**18
    """Bytes that the network takes for somebody who does not read."""

    protocol: Protocol
    other: "End"

    def __init__(self, loop: asyncio.AbstractEventLoop, own: Address, others: Address) -> None:
        super().__init__({"socket": self, "sockname": own, "peername": others})
        self.loop = loop
        self.outgoing = bytearray()  # written, and not yet taken by the network
        self.incoming = bytearray()  # brought by the network, and not yet received
        self.ending: OSError | bool = False  # what follows: nothing yet, the end of file, a fault
        self.reading = True
        self.due = False  # `take` has been asked for
        self.finished = self.closing = self.lost = self.full = self.lingers_not = False
        self.set_write_buffer_limits()

    def begin(self, protocol: Protocol) -> None:
        self.protocol = protocol
        protocol.connection_made(self)
        self.wake()

    def soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call in the loop of this end, if it still runs."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback, *arguments)

    # Sending

    def write(self, data: Any) -> None:
        if self.finished:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not self.closing:
            self.outgoing += data
            self.push()

    def push(self) -> None:
        """Hand over what there is room for; after the last of it, the end."""
        if self.other.lost and self.outgoing:
            self.break_off()
        room = max(0, self.capacity - len(self.other.incoming))
        if taken := self.outgoing[:room]:
            del self.outgoing[:room]
            self.other.incoming += taken
            self.other.wake()
        self.tell_of_room()
        if self.finished and not self.outgoing:
            self.other.hear_of_end(True)
        if self.closing and not self.outgoing:
            self.soon(self.lose, None)

    def break_off(self) -> None:
        """Nobody is there any more; what has come before is still received."""
        self.outgoing.clear()
        self.ending = fault(errno.EPIPE, "Broken pipe")
        if self.incoming and self.is_reading():
            self.wake()
        else:
            self.soon(self.lose, self.ending)

    def tell_of_room(self) -> None:
        if not self.full and len(self.outgoing) > self.high:
            self.full = True
            self.protocol.pause_writing()
        elif self.full and len(self.outgoing) <= self.low:
            self.full = False
            self.protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.finished = True
        self.push()

    def get_write_buffer_size(self) -> int:
        return len(self.outgoing)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = 2**16 if high is None else high
        self.low = self.high // 4 if low is None else low
        self.tell_of_room()

    # Receiving

    def wake(self) -> None:
        """Have `take` called when the network gets to it."""
        if not self.due:
            self.due = True
            self.soon(self.take)

    def take(self) -> None:
        """Receive the next piece of what has come."""
        self.due = False
        if not self.reading or self.closing:
            return
        if self.incoming:
            size = self.piece()
            data = bytes(self.incoming[:size])
            del self.incoming[:size]
            self.protocol.data_received(data)
            self.other.soon(self.other.push)  # there is room again
            self.wake()
        elif isinstance(self.ending, OSError):
            self.lose(self.ending)
        elif self.ending:
            self.reading = False
            if not self.protocol.eof_received():
                self.close()

    def piece(self) -> int:
        """How many bytes of what has come are received at once, at most."""
        return 2**16

    def hear_of_end(self, ending: OSError | bool) -> None:
        self.ending = self.ending or ending
        self.wake()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.wake()

    def is_reading(self) -> bool:
        return self.reading and not self.closing

    # Ending

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        """End the connection once the network has all that was written."""
        if not self.closing:
            self.closing = True
            self.push()

    def abort(self) -> None:
        self.closing = True
        self.outgoing.clear()
        self.soon(self.lose, None)

    def lose(self, problem: OSError | None) -> None:
        if not self.lost:
            self.vanish(reset=self.lingers_not or bool(self.incoming))
            self.protocol.connection_lost(problem)

    def vanish(self, *, reset: bool) -> None:
        """Be gone, as far as the other end can tell."""
        self.lost = self.closing = True
        reason = fault(errno.ECONNRESET, "Connection reset by peer") if reset else True
        self.other.hear_of_end(reason)
        self.other.soon(self.other.push)  # what it still has goes nowhere

    # The socket

    def getsockname(self) -> Any:
        return self.get_extra_info("sockname")

    def setsockopt(self, _level: int, option: int, _value: object) -> None:
        self.lingers_not |= option == socket.SO_LINGER


class Listener:
    """A server that listens on a port, and its socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        new_protocol: Callable[[], Protocol],
        host: str,
        port: int,
    ) -> None:
        if port in LISTENING:
            raise fault(errno.EADDRINUSE, f"port {port} is in use")
        self.loop = loop
        self.new_protocol = new_protocol
        self.address = host, port or next(each for each in PORTS if each not in LISTENING)
        self.sockets = (self,)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def getsockname(self) -> Address:
        return self.address

    async def start_serving(self) -> None:
        LISTENING[self.address[1]] = self

    def is_serving(self) -> bool:
        return LISTENING.get(self.address[1]) is self

    def accept(self, end: End) -> None:
        end.begin(self.new_protocol())

    def close(self) -> None:
        if self.is_serving():
            del LISTENING[self.address[1]]

    async def wait_closed(self) -> None: ...


LISTENING: dict[int, Listener] = {}
"""By port."""

PORTS = itertools.count(49152)
"""Where any free one will do; systems begin there, too."""


def vanish(loop: asyncio.AbstractEventLoop) -> None:
    """Nobody listens any more in this loop."""
    for listener in list(LISTENING.values()):
        if listener.loop is loop:
            listener.close()


E = TypeVar("E", bound=End)


def connected(
    near: asyncio.AbstractEventLoop,
    far: asyncio.AbstractEventLoop,
    address: Address,
    kind: type[E],
) -> tuple[E, E]:
    """The two ends of a connection between two loops, which may be the same."""
    own = HOST, next(PORTS)
    ends = kind(near, own, address), kind(far, address, own)
    ends[0].other, ends[1].other = ends[1], ends[0]
    return ends


async def create_server(
    loop: Any,
    new_protocol: Callable[[], Protocol],
    host: str | None = None,
    port: int = 0,
    *,
    ssl: object = None,
    start_serving: bool = True,
    **_: Any,
) -> Any:
    refuse_tls(ssl)
    listener = Listener(loop, new_protocol, HOST if host in (None, "localhost") else host, port)
    if start_serving:
        await listener.start_serving()
    return listener


async def create_connection(
    loop: Any,
    new_protocol: Callable[[], Protocol],
    host: str = HOST,
    port: int = 0,
    *,
    ssl: object = None,
    **_: Any,
) -> Any:
    refuse_tls(ssl)
    listener = LISTENING.get(port)
    if listener is None:
        raise fault(errno.ECONNREFUSED, f"Connect call failed ('{host}', {port})")
    near, far = connected(loop, listener.loop, listener.address, End)
    near.begin(new_protocol())
    far.soon(listener.accept, far)
    return near, near.protocol


def refuse_tls(ssl: object) -> None:
    if ssl:
        raise NotInABrowser("there is no TLS on its network in memory")
