"""Workers of a server, as its own settings have it."""

from contextlib import AsyncExitStack

import pytest
from peer import Peer
from workers import works

from stages import serve
from stages.beyond import acks


async def test_the_server_redelivers_what_is_held_too_long() -> None:
    server = acks.Server(ack_timeout=0.01)
    async with serve.listening(server, "127.0.0.1", 0) as port, AsyncExitStack() as peers:
        alice = await Peer.connect("127.0.0.1", port, speaks_json=True)
        peers.callback(alice.close)
        await alice.subscribe("jobs", ack=True)
        await alice.send("jobs", "a", delivery="one")
        while len(alice.inbox) < 3:  # nothing is said: only time passes
            alice.sort(await alice.receive())
        assert works(alice.inbox)[:3] == [(0, "a", False), (0, "a", True), (0, "a", True)]


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("ack_timeout", "more than 0: got 0"),
        ("waiting_length", "at least 0: got -1"),
        ("waiting_size", "at least 0: got -1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_rejected(setting: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be {problem}"):
        acks.Server(**{setting: int(problem.rpartition(" ")[2])})


def test_a_setting_that_no_file_can_hold_is_rejected() -> None:
    for settings in ({"ack_timeout": float("inf")}, {"seed": 2**64}, {"waiting_length": 2**63}):
        with pytest.raises(ValueError, match=r"must be less than 2\*\*63: got"):
            acks.Server(**settings)
