"""A server's order, its log read by hand: nothing runs but what the test calls."""

import asyncio
import logging
from itertools import count
from typing import Any

import pytest

from stages import serve
from stages.beyond import cluster
from stages.beyond.broker import Outgoing
from stages.beyond.log.order import Order
from stages.beyond.log.replica import Proposal
from stages.beyond.log.shared import MemoryLog, Record
from stages.beyond.server.inbox import Input
from stages.beyond.server.sequencer import Duties


class Outlet:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.dismissed: list[str] = []

    def send(self, outgoing: Outgoing) -> None:
        self.sent.append(outgoing)

    def dismiss(self, reason: str) -> None:
        self.dismissed.append(reason)


class NotedDuties(Duties):
    """Starts nothing, but notes what it would."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []

    def start(self, work: Any) -> Any:
        self.started.append(work.__name__)
        work.close()


numbers_of_records = count(1)


def record(order: Order, name: str, number: int, *inputs: tuple[int, bytes | None]) -> None:
    """Have an order read a record that it, or another server, has written."""
    data = Proposal(name, number, list(inputs)).encoded()
    order.apply(Record(next(numbers_of_records), 0.0, data))


def new_order() -> Any:
    """An order that has joined, and starts nothing."""
    order: Any = cluster.Server(engine="memory", log="by hand", lease=60.0).order
    order.outlet, order.duties = Outlet(), NotedDuties()
    record(order, order.name, 1)
    return order


def said() -> Input:
    return Input(1, b"{}", asyncio.get_running_loop().create_future())


async def test_what_a_client_says_is_done_when_its_own_record_is_read() -> None:
    own, first, second = new_order(), said(), said()
    own.under_way, own.written = [first, second], 2
    first.done.cancel()  # it is gone
    for name, number in (("other", 1), ("other", 2), (own.name, 1)):
        record(own, name, number)
        assert not second.done.done()
    own.inbox.wake.clear()
    record(own, own.name, 2, (1, b"{}"), (1, b'{"id": 7}'))
    outgoing: Any = second.done.result()
    assert [what["id"] for _, (what,) in outgoing] == [7]
    assert own.under_way == []
    assert own.inbox.wake.is_set()


async def test_a_life_that_ends_takes_all_with_it_that_was_asked() -> None:
    own, under_way, waiting = new_order(), said(), said()
    before = own.name
    own.under_way, own.written, own.last_written, own.wrote_last = [under_way], 7, 9.0, True
    own.inbox.inputs.append(waiting)
    own.end_life()
    assert under_way.done.result() == waiting.done.result() == []
    assert (list(own.inbox.inputs), own.under_way, own.outlet.dismissed) == (
        [],
        [],
        ["Could not store"],
    )
    assert (own.name != before, own.member, own.joined.is_set()) == (True, None, False)
    assert (own.written, own.last_written, own.read_at, own.wrote_last) == (0, 0.0, 0.0, False)


async def test_who_writes_the_record_that_makes_the_log_too_long_saves_it_once() -> None:
    own = new_order()
    size = own.size
    own.log_limit = 3 * size
    record(own, "other", 1)
    assert own.size > size
    while own.size:
        assert own.size <= own.log_limit
        record(own, "other", 2)
    assert "save" not in own.duties.started  # the other one does it
    for _ in range(20):
        record(own, own.name, 2)
    assert own.duties.started.count("save") == 1  # which has not ended
    own.saving = False
    for _ in range(20):
        record(own, own.name, 2)
    assert own.duties.started.count("save") == 2


class Slow:
    """An outbox from which nothing leaves, or one that is empty."""

    def __init__(self, pending: bool) -> None:
        self.pending = pending


class NotedClients(cluster.OwnClients):
    """Waits for nobody, but notes whom it would wait for."""

    def start(self, work: Any) -> None:
        self.waiting.add(work.__name__)
        work.close()


@pytest.mark.parametrize(
    ("pending", "behind", "started"),
    [
        (False, 1000, set()),
        (True, 99, {"wait_for_recipients"}),
        (True, 100, {"wait_for_recipients", "disconnect_slow"}),
    ],
)
async def test_a_reader_that_is_too_far_behind_is_given_up(
    pending: bool, behind: int, started: set[str]
) -> None:
    server: Any = cluster.Server(engine="memory", log="by hand")
    server.outboxes = {1: Slow(pending), 2: Slow(False)}
    clients: Any = NotedClients(server)
    clients.waiting = set(range(behind))
    clients.watch_readers([])
    assert clients.waiting - set(range(behind)) == started


@pytest.mark.parametrize(
    ("problem", "told"),
    [(OSError("no engine"), "no engine"), (KeyError("x"), "KeyError: 'x' in .*fail, line")],
)
async def test_trouble_is_told_by_its_name_the_first_alone(problem: Exception, told: str) -> None:
    async def fail() -> None:
        raise problem

    duties = Duties()
    await asyncio.wait([duties.start(fail())])
    first = duties.problem
    await asyncio.wait([duties.start(fail())])
    assert duties.problem is first
    duties.begin()
    with pytest.raises(OSError, match=told):
        await duties.end()


class Broken(MemoryLog):
    """A log that fails when it is told to."""

    fails: Exception | None = None
    is_closed = False

    async def append(self, data: bytes) -> None:
        if self.fails:
            raise self.fails
        await super().append(data)

    async def load(self) -> bytes | None:
        if self.fails:
            raise self.fails
        return None

    async def close(self) -> None:
        self.is_closed = True


def on(log: MemoryLog) -> cluster.Server:
    server = cluster.Server(engine="memory", log="by hand")
    server.order.shared = log
    return server


async def test_a_server_that_cannot_join_leaves_nothing_running() -> None:
    log = Broken()
    log.fails = OSError("no engine")
    server = on(log)
    with pytest.raises(OSError, match="no engine"):
        await server.__aenter__()
    assert log.is_closed
    assert server.order.duties.tasks == set()


@pytest.mark.parametrize("problem", [OSError("no majority"), ValueError("no majority")])
async def test_a_server_that_cannot_write_ends_and_does_not_listen_for_ever(
    problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    log = Broken()
    with pytest.raises(OSError, match="no majority"), caplog.at_level(logging.ERROR):
        async with serve.listening(on(log), "127.0.0.1", 0) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            log.fails = problem
            writer.write(b'{"command": "subscribe", "topic": "foo"}\n')
            try:
                await asyncio.Event().wait()
            finally:
                writer.transport.abort()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
    assert log.is_closed


async def test_a_server_of_another_format_does_not_share_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its rules may lead to something else."""
    log = MemoryLog()
    async with on(log):
        other = on(log)
        other.order.agreed["format"] += 1
        with pytest.raises(ValueError, match="must agree: expected format"):
            await other.__aenter__()


async def test_a_snapshot_is_saved_in_turns_and_then_another_may_be() -> None:
    own = cluster.Server(engine="memory", log="saved by hand").order
    own.saving = True
    saving = asyncio.create_task(own.save(7, iter([b"a", b"b"])))
    await asyncio.sleep(0)
    assert not saving.done()
    await saving
    assert await own.shared.load() == b"a\nb"
    assert not own.saving
