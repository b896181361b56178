"""A server of a cluster whose log is read by hand: nothing runs but what the test calls."""

import asyncio
from itertools import count
from typing import Any

import pytest

from stages.beyond import cluster
from stages.beyond.durable import Input
from stages.beyond.replica import Proposal
from stages.beyond.shared_log import Record


class Pretended:
    """A connection that can be aborted, or an outbox that has something pending."""

    aborted = False
    pending = False

    def abort(self) -> None:
        self.aborted = True


class ByHand(cluster.Server):
    """It has joined, and notes the work that it would start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.numbers_of_records = count(1)
        self.started: list[str] = []
        self.record(self.name, 1)

    def record(self, name: str, number: int, *inputs: tuple[int, bytes | None]) -> None:
        data = Proposal(name, number, list(inputs)).encoded()
        self.read(Record(next(self.numbers_of_records), 0.0, data))

    def start(self, work: Any) -> Any:
        self.started.append(work.__name__)
        work.close()


def server() -> Any:
    return ByHand(engine="memory", log="by hand", lease=60.0)


def said() -> Any:
    return Input(1, b"{}", asyncio.get_running_loop().create_future())


async def test_what_a_client_says_is_done_when_its_own_record_is_read() -> None:
    own, first, second = server(), said(), said()
    own.under_way, own.written = [first, second], 2
    first.outgoing.cancel()  # it is gone
    for name, number in (("other", 1), ("other", 2), (own.name, 1)):
        own.record(name, number)
        assert not second.outgoing.done()
    own.wake.clear()
    own.record(own.name, 2, (1, b"{}"), (1, b'{"id": 7}'))
    assert [what["id"] for _, (what,) in second.outgoing.result()] == [7]
    assert own.under_way == []
    assert own.wake.is_set()


async def test_a_life_that_ends_takes_all_with_it_that_was_asked() -> None:
    own, under_way, waiting, client = server(), said(), said(), Pretended()
    before = own.name
    own.under_way, own.written, own.last_written, own.wrote_last = [under_way], 7, 9.0, True
    own.inputs.append(waiting)
    own.outboxes, own.connections = {1: client}, {1: client}
    own.end_life()
    assert under_way.outgoing.result() == waiting.outgoing.result() == []
    assert (list(own.inputs), own.under_way, client.aborted) == ([], [], True)
    assert (own.name != before, own.member, own.joined.is_set()) == (True, None, False)
    assert (own.written, own.last_written, own.read_at, own.wrote_last) == (0, 0.0, 0.0, False)


async def test_who_writes_the_record_that_makes_the_log_too_long_saves_it_once() -> None:
    own = server()
    size = own.size
    own.log_limit = 3 * size
    own.record("other", 1)
    assert own.size > size
    while own.size:
        assert own.size <= own.log_limit
        own.record("other", 2)
    assert "save" not in own.started  # the other one does it
    for _ in range(20):
        own.record(own.name, 2)
    assert own.started.count("save") == 1  # which has not ended
    own.saving = False
    for _ in range(20):
        own.record(own.name, 2)
    assert own.started.count("save") == 2


@pytest.mark.parametrize(("behind", "given_up"), [(100, 0), (101, 1)])
async def test_a_reader_that_is_too_far_behind_is_given_up(behind: int, given_up: int) -> None:
    own, slow = server(), Pretended()
    slow.pending = True
    own.outboxes = {1: slow, 2: Pretended()}
    own.tasks = set(range(behind))
    own.watch_readers([])
    assert own.started[-1 - given_up :] == ["wait_for_recipients", *["disconnect_slow"] * given_up]


@pytest.mark.parametrize(
    ("problem", "told"),
    [(OSError("no engine"), "no engine"), (KeyError("x"), "KeyError: 'x' in .*fail, line")],
)
async def test_trouble_is_told_by_its_name_the_first_alone(problem: Exception, told: str) -> None:
    async def fail() -> None:
        raise problem

    own = server()
    own.serving = None
    await own.watch(fail())
    with pytest.raises(OSError, match=told):
        raise own.trouble
    first = own.trouble
    await own.watch(fail())
    assert own.trouble is first


async def test_a_server_that_cannot_join_leaves_nothing_running() -> None:
    class Broken:
        async def open(self, settings: Any) -> None:
            """Nothing is wrong yet."""

        async def load(self) -> bytes | None:
            raise OSError("no engine")

        async def close(self) -> None:
            closed.append(self)

    own: Any = cluster.Server(engine="memory", log="by hand")
    closed: list[Any] = []
    own.shared = Broken()
    with pytest.raises(OSError, match="no engine"):
        await own.__aenter__()
    assert closed == [own.shared]
    assert own.tasks == set()


async def test_a_snapshot_is_saved_in_turns_and_then_another_may_be() -> None:
    own: Any = cluster.Server(engine="memory", log="saved by hand")
    own.saving = True
    saving = asyncio.create_task(own.save(7, iter([b"a", b"b"])))
    await asyncio.sleep(0)
    assert not saving.done()
    await saving
    assert await own.shared.load() == b"a\nb"
    assert not own.saving
