"""The exercises of lesson 6."""

from typing import Any

from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, accepted
from stages.lab.workbench.lab import Lab

MALFORMED = "Malformed json message"


async def subscribers(lab: Lab) -> Claims:
    """{"command": "subscribers", "topic": "foo"} is answered with {"success": true, "subscribers":
    2}."""
    alice, bob, carol = [await lab.connect(name) for name in ("alice", "bob", "carol")]
    ask: dict[str, Any] = {"command": "subscribers", "topic": "foo"}

    async def answer() -> Any:
        told = await alice.ask(ask)
        return told.get("subscribers", told)

    yield Claim("a topic that nobody knows has none", 0, await answer())
    await alice.subscribe("foo")
    await bob.subscribe("foo")
    yield Claim("clients that subscribe are counted", 2, await answer())
    for client in (alice, bob, carol):
        await client.subscribe("bar")
    yield Claim("those of this topic, whatever others have", 2, await answer())
    await bob.subscribe("foo")
    yield Claim("each once", 2, await answer())
    await alice.unsubscribe("foo")
    yield Claim("clients that unsubscribe are not", 1, await answer())
    await bob.leave()
    yield Claim("nor are those that leave", 0, await answer())
    wrong = await alice.ask({**ask, "topic": 7})
    yield Claim("a wrong topic is malformed", MALFORMED, wrong.get("reason"))


async def headers(lab: Lab) -> Claims:
    """A `send` may have `headers`, an object of texts, which are delivered with the message."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("foo")
    send = {"command": "send", "topic": "foo", "msg": "hello", "delivery": "all"}
    yield Claim(
        "headers are accepted", True, await accepted(alice, **send, headers={"trace": "a7"})
    )
    heard = await alice.all_messages()
    yield Claim("and delivered", [{"trace": "a7"}], [message.get("headers") for message in heard])
    yield Claim("a message needs none", True, await accepted(alice, **send))
    last = (await alice.all_messages())[-1:]
    yield Claim("and has none then", [{}], [message.get("headers") or {} for message in last])
    await accepted(alice, **{**send, "delivery": "one"}, headers={"trace": "b8"})
    last = (await alice.all_messages())[-1:]
    yield Claim("one for one may have them", [{"trace": "b8"}], [m.get("headers") for m in last])
    for wrong in ({"trace": 7}, "trace", ["trace"], None):
        answer = await alice.ask({**send, "headers": wrong})
        yield Claim(f"headers of {wrong!r} are malformed", MALFORMED, answer.get("reason"))
    await bob.subscribe("foo")
    late = [message.get("headers") for message in await bob.all_messages()]
    yield Claim("late subscribers get them, too", {"trace": "a7"}, next(iter(late), None))


EXERCISES = (subscribers, headers)
