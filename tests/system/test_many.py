"""Two thousand clients at once."""

import asyncio

import pytest
from given import Connect
from peer import fresh_topic, msgs

CLIENTS = 2000


def allow_many_open_files() -> None:
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * CLIENTS + 500  # both ends of each connection are ours
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["disconnects"])
async def test_each_of_two_thousand_clients_gets_its_own_messages(connect: Connect) -> None:
    allow_many_open_files()
    peers = [await connect() for _ in range(CLIENTS)]
    topics = [fresh_topic() for _ in peers]
    await asyncio.gather(
        *[peer.subscribe(topic) for peer, topic in zip(peers, topics, strict=True)]
    )
    # Each writes to the next one in the circle.
    await asyncio.gather(*[peer.send(topics[n - 1], str(n)) for n, peer in enumerate(peers)])
    heard = await asyncio.gather(*[peer.heard() for peer in peers])
    assert [msgs(messages) for messages in heard] == [[str(n)] for n in [*range(1, CLIENTS), 0]]
