"""What `disconnects` introduces."""

from given import Connect
from peer import fresh_topic, msgs


async def test_a_client_that_left_is_sent_nothing(connect: Connect) -> None:
    """When a connection ends, in whichever way, remove the client from all its topics before you
    read on."""
    sender = await connect()
    for last_line in (b"quit\n", b"nonsense\nquit\n", b"nonsense", b""):
        topic, gone, alice = fresh_topic(), await connect(), await connect()
        await gone.subscribe(topic)
        await gone.write(last_line)
        await gone.end()
        await sender.send(topic, "job", delivery="one")
        assert msgs(await alice.subscribe(topic)) == ["job"]


async def test_a_client_that_reset_its_connection_is_sent_nothing(connect: Connect) -> None:
    """A reset is an error on reading or writing: treat it as the end of the connection."""
    sender = await connect()
    for _ in range(20):  # nothing tells us when the server has noticed, so it gets some chances
        topic, gone, alice = fresh_topic(), await connect(), await connect()
        await gone.subscribe(topic)
        gone.reset()
        await alice.settle()
        await sender.send(topic, "job", delivery="one")
        if msgs(await alice.subscribe(topic)) == ["job"]:
            return
    raise AssertionError("each time the message was drawn for the client that was gone")


async def test_a_topic_outlives_its_last_subscriber(connect: Connect) -> None:
    """Forget the client, and not the topic: neither what is kept of it nor how far it has counted."""
    topic, sender, gone, alice = fresh_topic(), await connect(), await connect(), await connect()
    await gone.subscribe(topic)
    await sender.send(topic, "a", "b")
    await gone.quit()
    await sender.send(topic, "job", delivery="one")
    heard = await alice.subscribe(topic, last_seen=0)
    assert [(message["msg"], message.get("index")) for message in heard] == [("b", 1), ("job", 2)]


async def test_one_delivery_reaches_those_who_are_still_there(connect: Connect) -> None:
    """Draw only among the clients that are connected."""
    topic, sender, staying = fresh_topic(), await connect(), [await connect() for _ in range(2)]
    leaving = [await connect() for _ in range(3)]
    for peer in staying + leaving:
        await peer.subscribe(topic)
    for peer in leaving:
        await peer.quit()
    await sender.send(topic, *map(str, range(50)), delivery="one")
    heard = [msg for peer in staying for msg in msgs(await peer.heard())]
    assert sorted(map(int, heard)) == list(range(50))


async def test_a_client_that_left_one_of_many_topics_behind_left_them_all(connect: Connect) -> None:
    """Remember for each client all its topics, or search them all."""
    topics, sender, gone, alice = (
        [fresh_topic() for _ in range(10)],
        await connect(),
        await connect(),
        await connect(),
    )
    for topic in topics:
        await gone.subscribe(topic)
        await gone.subscribe(topic)
    await gone.quit()
    for topic in topics:
        await sender.send(topic, "job", delivery="one")
        assert msgs(await alice.subscribe(topic)) == ["job"]
