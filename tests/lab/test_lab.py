"""The lab: a stage in the background, named clients, the picture of their traffic."""

import asyncio
import threading
from typing import Any, ClassVar
from xml.etree import ElementTree

import pytest

from stages import basic, caching, delivery, disconnects, last_seen, wire
from stages.beyond import acks
from stages.beyond.broker.commands import Unsubscribe
from stages.beyond.broker.topic import Client
from stages.lab import changes, launch, overview, show
from stages.lab.workbench import lab
from stages.lab.workbench.lab import Lab


async def test_after_each_call_everything_it_caused_has_arrived_everywhere() -> None:
    with launch(disconnects.Server()) as lab:
        clients = [await lab.connect(name) for name in ("alice", "bob", "carol")]
        for client in clients:
            await client.subscribe("foo")
        for number in range(50):
            await clients[number % 3].send("foo", number)
            assert [client.messages[-1]["msg"] for client in clients] == [number] * 3


async def test_next_message_and_all_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    with launch(basic.Server()) as launched:
        alice = await launched.connect("alice")
        await alice.subscribe("foo")
        for number in range(3):
            await alice.send("foo", number)
        assert (await alice.next_message())["msg"] == 0
        assert [message["msg"] for message in await alice.all_messages()] == [0, 1, 2]
        monkeypatch.setattr(lab, "TIMEOUT", 0.1)
        with pytest.raises(
            TimeoutError, match=r"alice has waited 0\.1 seconds for a message: none came"
        ):
            await alice.next_message()


async def test_raw_gives_the_answer_to_whatever_is_typed() -> None:
    with launch(basic.Server()) as lab:
        alice = await lab.connect("alice")
        (answer,) = await alice.raw("hello")
        assert "not a Python literal" in answer["error"]
        assert await alice.raw("{'command': 'subscribe', 'topic': 'foo'}") == []
        assert await alice.raw("quit") == []
        with pytest.raises(ConnectionError, match="alice is no longer connected"):
            await alice.raw("hello")


@pytest.mark.parametrize("how", ["leave", "break_off"])
async def test_after_leaving_the_server_has_noticed(how: str) -> None:
    server = disconnects.Server()
    with launch(server) as lab:
        alice = await lab.connect("alice")
        await alice.subscribe("foo")
        assert list(server.topics) == ["foo"]
        await getattr(alice, how)()
        assert server.topics == {}
        assert [repr(lab), repr(alice)] == ["<lab with no clients>", "<client alice>"]


async def test_pings_leave_no_trace_in_the_server() -> None:
    server = disconnects.Server()
    with launch(server) as lab:
        await lab.connect("alice")
        assert (server.topics, server.caches, server.indexes) == ({}, {}, {})


async def test_a_fault_in_a_learners_class_is_raised_in_the_learners_cell() -> None:
    class Faulty(basic.Server):
        def send(self, command: wire.Command, client: wire.Recipient) -> None:
            raise ZeroDivisionError("in my class")

    with launch(Faulty()) as lab:
        alice, bob = await lab.connect("alice"), await lab.connect("bob")
        with pytest.raises(ZeroDivisionError, match="in my class"):
            await alice.send("foo", "hello")
        assert await bob.raw("{'command': 'subscribe', 'topic': 'foo'}") == []


async def test_a_server_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Silent(basic.Server):
        def handle(self, line: bytes, client: wire.Recipient) -> None:
            pass

    monkeypatch.setattr(lab, "TIMEOUT", 0.1)
    with (
        launch(Silent()) as silent,
        pytest.raises(TimeoutError, match=r"alice has waited .* for an answer"),
    ):
        await silent.connect("alice")


def test_what_goes_wrong_at_the_start_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"expected a server, such as Server\(\), not"):
        launch(basic.Server)  # type: ignore[arg-type]
    monkeypatch.setattr("stages.lab.workbench.background.HOST", "192.0.2.1")
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        launch(basic.Server())


async def test_a_name_is_given_only_once() -> None:
    with launch(basic.Server()) as lab:
        await lab.connect("alice")
        with pytest.raises(ValueError, match="there is a client 'alice' already"):
            await lab.connect("alice")


async def test_stopping_closes_everything_and_twice_is_harmless() -> None:
    before = threading.active_count()
    lab = launch(basic.Server())
    await lab.connect("alice")
    lab.stop()
    lab.stop()
    await asyncio.sleep(0)  # the client's own end closes in the next turn of the loop
    assert threading.active_count() == before


async def story(lab: Lab) -> None:
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await bob.send("foo", "early", delivery="one")
    await alice.subscribe("foo", last_seen=-1)
    await bob.raw("nonsense")
    await alice.break_off()
    await bob.send("foo", "late & <missed>")
    await bob.send("foo", "gone", delivery="one")
    await bob.raw("quit")


TOLD = """\
alice  connects
bob    connects
bob    --> server  send foo: early (for one)
           (nobody there: kept)
server keeps foo: +#0 early
alice  --> server  subscribe foo (last_seen=-1)
server --> alice   #0 early (replay)
server keeps foo: -#0 early
bob    --> server  nonsense
server --> bob     ✗ not a Python literal (a quote or bracket missin…
alice  breaks off
bob    --> server  send foo: late & <missed>
server --x alice   #1 late & <missed> (missed, but kept)
server keeps foo: +#1 late & <missed>
bob    --> server  send foo: gone (for one)
server --x alice   #2 gone (lost)
bob    --> server  quit
bob    is disconnected"""


async def test_the_diagram_tells_what_went_over_the_wire_the_same_each_time() -> None:
    pictures = set()
    for _ in range(5):
        with launch(last_seen.Server(seed=42)) as lab:
            await story(lab)
            assert str(lab.diagram()) == TOLD
            assert str(lab.diagram(last=2)) == "\n".join(TOLD.splitlines()[-2:])
            pictures.add(lab.diagram().svg())
    assert len(pictures) == 1


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """Where each text stands: left, top, right, bottom, in pixels."""
    found = []
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        x, y, width = float(text.attrib["x"]), float(text.attrib["y"]), 7.8 * len(text.text or "")
        left = x - width / 2 if "mid" in text.attrib.get("class", "") else x
        found.append((left, y - 11, left + width, y + 3))
    return found


async def test_no_text_of_the_diagram_overlaps_another_or_is_clipped() -> None:
    with launch(last_seen.Server(seed=42)) as lab:
        await story(lab)
        names = [f"{'very ' * n}long name" for n in range(6)]
        clients = [await lab.connect(name) for name in names]
        for client in clients:
            await client.subscribe("a topic with a name that is far too long to be shown in full")
        for client in clients:
            await client.send(
                "a topic with a name that is far too long to be shown in full",
                "x" * 1000,
                extra="y" * 99,
            )
        svg = lab.diagram().svg()
    root = ElementTree.fromstring(svg)
    placed = boxes(svg)
    for n, (left, top, right, bottom) in enumerate(placed):
        assert left >= 0
        assert right <= float(root.attrib["width"])
        assert bottom <= float(root.attrib["height"])
        for other in placed[:n]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


async def test_the_svg_has_no_ids_and_whole_numbers_only() -> None:
    with launch(caching.Server(seed=42)) as lab:
        await story(lab)
        root = ElementTree.fromstring(lab.diagram().svg())
    for element in root.iter():
        assert "id" not in element.attrib
        for name in {"x", "y", "x1", "x2", "y1", "y2", "width", "height"} & set(element.attrib):
            assert element.attrib[name].isdigit()


def test_changes_are_told_line_by_line_and_coloured_where_they_are_displayed() -> None:
    diff = changes(basic.Server.recipients, delivery.Server.recipients)
    assert str(diff).startswith(" def recipients(self, command: wire.Command)")
    signs = {line[:1] for line in str(diff).splitlines()}
    assert signs == {" ", "+", "-"}
    (shown,) = diff._repr_mimebundle_().values()
    assert shown.count("\033[31m-") == sum(line.startswith("-") for line in str(diff).splitlines())


def test_show_gives_the_source() -> None:
    assert str(show(delivery.Server.recipients)).startswith("def recipients(self")
    assert str(show(delivery)).startswith('"""The sender chooses')
    with pytest.raises(TypeError, match="show expects a module, class or method"):
        show(42)


def test_steps_tells_who_defines_and_who_extends() -> None:
    table = {
        line.split()[0]: line.split()[1:]
        for line in str(overview(disconnects.Server)).splitlines()[1:]
    }
    assert table["recipients"] == ["●", "○"]
    assert table["unseen"] == ["●", "○"]


async def test_beyond_the_article_commands_give_their_answers() -> None:
    with launch(acks.Server()) as lab:
        alice = await lab.connect("alice")
        assert await alice.subscribe("foo") == {"success": True}
        refusal = await alice.send("foo", "hello", delivery="some")
        assert refusal["detail"] == "Invalid enum value 'some' - at `$.delivery`"
        await alice.send("foo", "hello")
        assert await alice.raw("{}") == [{"success": False, "reason": "Malformed json message"}]
        assert [message["msg"] for message in await alice.all_messages()] == ["hello"]


async def test_a_command_that_a_learners_class_does_not_answer_is_named() -> None:
    class Mute(acks.Broker):
        def unsubscribe(self, command: Unsubscribe, client: Client) -> None:
            pass

    class Server(acks.Server):
        broker_class = Mute

    with launch(Server()) as lab:
        alice = await lab.connect("alice")
        with pytest.raises(wire.Error, match="the server has not answered 'unsubscribe'"):
            await alice.unsubscribe("foo")


async def test_a_refusal_in_the_articles_stages_is_the_answer() -> None:
    with launch(basic.Server()) as lab:
        alice = await lab.connect("alice")
        assert await alice.subscribe("foo") == {}
        assert await alice.subscribe(7) == {"error": "'topic' must be a string: got 7"}  # type: ignore[arg-type]
        assert list(await alice.unsubscribe("foo")) == ["error"]


WORK = """\
boss   connects
alice  connects
alice  --> server  subscribe jobs (ack=True, prefetch=1)  ✓
boss   --> server  send jobs: a (for one)  ✓
server --> alice   #0 a
server keeps jobs with alice: +#0 a
boss   --> server  send jobs: b (for one)  ✓
           (nobody is free: kept)
server keeps jobs: +#1 b
alice  --> server  ack jobs #0  ✓
server --> alice   #1 b
server keeps jobs: -#1 b
server keeps jobs with alice: -#0 a, +#1 b
boss   --> server  send jobs: c (for one)  ✓
           (nobody is free: kept)
server keeps jobs: +#2 c
alice  breaks off
server keeps jobs: +#1 b again, #2 c
server keeps jobs with alice: -#1 b
server restarts
server keeps jobs: -#1 b again, -#2 c
boss   is disconnected"""


async def test_the_diagram_shows_who_holds_what_and_what_vanishes() -> None:
    with launch(acks.Server(seed=42)) as lab:
        boss, alice = await lab.connect("boss"), await lab.connect("alice")
        await alice.subscribe("jobs", ack=True, prefetch=1)
        for job in ("a", "b"):
            await boss.send("jobs", job, delivery="one")
        await alice.ack(await alice.next_message())
        await boss.send("jobs", "c", delivery="one")
        await alice.break_off()
        lab.restart(acks.Server(seed=42))
        assert str(lab.diagram()) == WORK


async def test_a_client_may_wait_for_a_message_while_others_work() -> None:
    with launch(acks.Server()) as lab:
        alice, bob = await lab.connect("alice"), await lab.connect("bob")
        await alice.subscribe("foo")
        waiting = asyncio.create_task(alice.next_message())
        await asyncio.sleep(0)
        await bob.send("foo", "hello")
        assert (await waiting)["msg"] == "hello"


async def test_an_old_client_is_not_its_successor_of_the_same_name() -> None:
    with launch(basic.Server()) as lab:
        old = await lab.connect("alice")
        await old.break_off()
        new = await lab.connect("alice")
        with pytest.raises(ConnectionError, match="alice is no longer connected"):
            await old.send("foo", "hello")
        await old.all_messages()
        await new.subscribe("foo")
        assert list(lab.clients) == ["alice"]


async def test_a_restart_ends_the_wait_for_a_message() -> None:
    with launch(caching.Server()) as lab:
        alice, bob = await lab.connect("alice"), await lab.connect("bob")
        await bob.send("foo", "kept")
        waiting = asyncio.create_task(alice.next_message())
        await asyncio.sleep(0)
        lab.restart(caching.Server())
        with pytest.raises(ConnectionError, match="alice is no longer connected"):
            await waiting
        await lab.connect("carol")
        assert str(lab.diagram()).count("keeps foo: -kept") == 1


async def test_a_learners_class_may_greet_and_keep_its_state_in_any_shape() -> None:
    class Odd(basic.Server):
        indexes = 5
        caches: ClassVar[Any] = {7: ["no dict"], "none": None}

        async def handle_client(self, reader: asyncio.StreamReader, client: wire.Recipient) -> None:
            client.write(b"hello\n")
            await super().handle_client(reader, client)

    with launch(Odd()) as lab:
        with pytest.raises(wire.Error):
            await lab.connect("alice")
        assert "server   --> a client  ✗ hello" in str(lab.diagram())
        assert (await lab.state()).messages == {"7": [{"msg": "no dict"}]}
        assert lab.film().svg()


async def test_there_is_no_step_before_the_first() -> None:
    with launch(basic.Server()) as lab:
        assert str(lab.diagram(last=-1)) == str(lab.film(last=-1)) == str(lab.film()) == ""
        await lab.connect("alice")
        assert str(lab.diagram(last=-1)) == ""
        assert str(lab.diagram(last=99)) == "alice  connects"


@pytest.mark.parametrize("name", ["", "  ", "a\x07b", "a\ud800"])
async def test_a_client_has_a_name_that_can_be_read(name: str) -> None:
    expected = pytest.raises(ValueError, match="is no name: expected one that can be read")
    with launch(basic.Server()) as lab, expected:
        await lab.connect(name)
