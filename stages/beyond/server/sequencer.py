"""The part of a server that decides when what clients say is carried out.

    AtOnce      now: `acks`, and `fast` without a file
    Journal     when the batch before is on the disk: `durable`, and `fast` with a file
    Order       when it has its place in a log that servers share: `cluster`

It has the broker carry out a batch, and hands what comes of it to an outlet. That is all it knows
of the server that holds it.

Source: the *sequencer* of a replicated state machine; LMAX' journal before the business logic.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from stages import serve
from stages.beyond.broker import Batch, Broker, Outgoing
from stages.beyond.broker.topic import Client


class Outlet(Protocol):
    """Where what the broker says goes out."""

    def send(self, outgoing: Outgoing, /) -> None:
        """Send it to its clients."""

    def dismiss(self, reason: str, /) -> None:
        """Tell all clients why their connections end now, and end them."""


class Sequencer(Protocol):
    """Entered while its server serves. Leaving it raises OSError, in one line, if it has failed:
    then it has cancelled the task that entered it."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *failure: object) -> None: ...

    async def submit(self, client: Client, data: bytes | None, /) -> Outgoing:
        """Have carried out what a client has said (None: it has left). Returns what came of it,
        once the outlet has that."""


class AtOnce:
    """Has everything carried out at once, and by a timer what is due."""

    def __init__(self, broker: Broker[Any], outlet: Outlet, time: Callable[[], float]) -> None:
        self.broker = broker
        self.outlet = outlet
        self.time = time
        self.timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        """Nothing to begin; but at the end no timer may be left."""

    async def __aexit__(self, *failure: object) -> None:
        if self.timer:
            self.timer.cancel()

    async def submit(self, client: Client, data: bytes | None) -> Outgoing:
        return self.do([(client, data)])

    def do(self, inputs: list[tuple[Client, bytes | None]]) -> Outgoing:
        parts = self.broker.carry_out(Batch(self.time(), inputs))
        for outgoing in parts:
            self.outlet.send(outgoing)
        self.set_timer()
        return parts[-1]

    def set_timer(self) -> None:
        """See that the broker gets a batch when it needs one."""
        if self.timer:
            self.timer.cancel()
        due = self.broker.due
        later = asyncio.get_running_loop().call_at
        self.timer = None if due is None else later(due, self.do, [])


class Duties:
    """Tasks without which a server can't go on. If one of them fails, the task that has entered the
    server is cancelled, and `end` raises why."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.problem: OSError | None = None
        self.server: asyncio.Task[Any] | None = None

    def begin(self) -> None:
        """Call this in the task that enters the server."""
        self.server = asyncio.current_task()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.ended)
        return task

    def ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        problem = None if task.cancelled() else task.exception()
        if problem and not self.problem:
            told = problem if isinstance(problem, OSError) else OSError(serve.described(problem))
            self.problem = told
            if self.server:
                self.server.cancel()

    async def end(self) -> None:
        """End all of them. Raises OSError if one has failed."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.problem and self.server:
            self.server.uncancel()
            raise self.problem
