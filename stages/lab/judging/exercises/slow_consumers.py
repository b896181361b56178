"""The exercises of lesson 7."""

import asyncio
from contextlib import suppress

from stages.client import Client
from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, heard
from stages.lab.lessons.slow_consumers import slow
from stages.lab.workbench.background import HOST
from stages.lab.workbench.lab import Lab


async def at_most_three(lab: Lab) -> Claims:
    """A client may subscribe to three topics; a fourth is refused with the reason "Too many
    topics"."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    first = [(await alice.subscribe(topic))["success"] for topic in ("a", "b", "c", "c")]
    yield Claim("three topics are accepted, each as often as you like", [True] * 4, first)
    yield Claim(
        "a fourth is refused", "Too many topics", (await alice.subscribe("d")).get("reason")
    )
    again = [(await alice.subscribe(topic))["success"] for topic in ("a", "b", "c")]
    yield Claim("and changes nothing: the three are still hers", [True] * 3, again)
    await bob.send("d", "hello")
    yield Claim("what is sent there is not delivered", [], await heard(alice))
    await alice.unsubscribe("never subscribed")
    fourth = (await alice.subscribe("d"))["success"]
    yield Claim("to leave a topic that is not hers makes no room", False, fourth)
    others = [(await bob.subscribe(topic))["success"] for topic in ("d", "e", "f")]
    yield Claim("everybody has three, whatever others have", [True] * 3, others)
    await alice.unsubscribe("a")
    yield Claim(
        "after unsubscribing there is room again", True, (await alice.subscribe("d"))["success"]
    )


async def newest(lab: Lab) -> Claims:
    """A reader that does not keep up gets the newest message instead of all; its senders never
    wait."""
    alice, sender = await lab.connect("alice"), await lab.connect("sender")
    await alice.subscribe("foo")
    for text in ("a", "b", "c"):
        await sender.send("foo", text)
    yield Claim("a reader that keeps up gets everything", ["a", "b", "c"], await heard(alice))
    port, got = lab.background.port, list[int]()  # type: ignore[attr-defined]
    async with await Client.connect(port, HOST) as fast, await Client.connect(port, HOST) as stuck:
        await stuck.subscribe("bar", cache=False)
        slow.transport_of(stuck).pause_reading()
        answered: list[int] = []
        sending = asyncio.create_task(slow.send(fast, answered, "bar"))
        await slow.wait_for_stall(sending, answered)
        # How far it gets else, is up to the buffers of this machine: nothing to show.
        lab.steps[-1].arrows.clear()
        told = "all" if len(answered) == slow.MESSAGES else "some, until nobody read any more"
        yield Claim("a sender gets through, whoever does not read", "all", told)
        slow.transport_of(stuck).resume_reading()
        with suppress(TimeoutError, EOFError, OSError):
            while True:  # what comes after the newest comes soon
                async with asyncio.timeout(0.3 if slow.MESSAGES - 1 in got else 2):
                    got.append((await stuck.receive())["index"])
        sending.cancel()
        slow.transport_of(stuck).abort()
    lab.steps[-1].arrows.clear()
    yield Claim(
        "for a reader that does not, not everything is kept", True, len(got) < slow.MESSAGES
    )
    yield Claim(
        "once it reads on, it gets the newest message",
        slow.MESSAGES - 1,
        max(got[-1:], default=None),
    )
    yield Claim("and nothing out of order", sorted(got), got)


EXERCISES = (at_most_three, newest)
