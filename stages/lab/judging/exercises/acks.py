"""The exercises of lesson 8."""

from typing import Any

from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, accepted, heard, texts
from stages.lab.workbench.lab import Lab


async def nack(lab: Lab) -> Claims:
    """{"command": "nack", "topic": "jobs", "index": 0} hands a message that one holds to somebody
    else at once."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("chores", ack=True)
    await bob.send("chores", "mop", delivery="one")
    await alice.subscribe("jobs", ack=True)
    await bob.send("jobs", "too heavy", delivery="one")
    await bob.subscribe("jobs", ack=True)
    command = {"command": "nack", "topic": "jobs", "index": 0}
    yield Claim(
        "what is not with you cannot be given back", False, (await bob.ask(command))["success"]
    )
    yield Claim("what is with you can", True, await accepted(alice, **command))
    got = [(message["msg"], message.get("redelivered")) for message in await bob.all_messages()]
    yield Claim("somebody else gets it, redelivered", [("too heavy", True)], got)
    yield Claim("you do not", ["mop", "too heavy"], await heard(alice))
    yield Claim("it can be given back once", False, (await alice.ask(command))["success"])
    ack = await bob.ack({"topic": "jobs", "index": 0})
    yield Claim("the other worker can acknowledge it", True, ack["success"])
    await bob.leave()
    await alice.subscribe("alone", ack=True)
    await alice.send("alone", "nobody else", delivery="one")
    await accepted(alice, command="nack", topic="alone", index=0)
    times = (await heard(alice)).count("nobody else")
    yield Claim("with nobody else there, it comes back or waits", True, times in (1, 2))
    kept = await alice.ack({"topic": "chores", "index": 0})
    yield Claim("work of another topic stays where it is", True, kept["success"])
    carol, dave = await lab.connect("carol"), await lab.connect("dave")
    for worker in (carol, dave):
        await worker.subscribe("errands", ack=True)
    back = 0
    for number in range(10):
        await alice.send("errands", "shop", delivery="one")
        holder = carol if number in [each["index"] for each in await carol.all_messages()] else dave
        before = len(await holder.all_messages())
        await accepted(holder, command="nack", topic="errands", index=number)
        back += len(await holder.all_messages()) - before
    yield Claim("it never comes back to the worker that gave it back, if there is another", 0, back)


async def poison(lab: Lab) -> Claims:
    """A message that has come back three times is not handed out again."""
    boss = await lab.connect("boss")
    await boss.send("chores", "deadly", delivery="one")
    await boss.send("jobs", "deadly", delivery="one")
    await boss.send("jobs", "harmless", delivery="one")
    got = []
    for name in ("alice", "bob", "carol", "dave"):
        worker = await lab.connect(name)
        await worker.subscribe("jobs", ack=True, prefetch=1)
        got.append(await heard(worker))
        await worker.break_off()
    third = [["deadly"]] * 3 + [["harmless"]]
    yield Claim("three workers get it, the fourth gets the next job", third, got)
    erin, frank = await lab.connect("erin"), await lab.connect("frank")
    await erin.subscribe("chores", ack=True)
    await erin.break_off()
    await frank.subscribe("chores", ack=True)
    yield Claim("messages of other topics are not counted with it", ["deadly"], await heard(frank))
    await boss.send("pairs", "deadly", delivery="one")
    for name in ("gus", "hal", "ida"):
        if name == "ida":
            await boss.send("pairs", "harmless", delivery="one")
        worker = await lab.connect(name)
        await worker.subscribe("pairs", ack=True, prefetch=2)
        await worker.break_off()
    jane = await lab.connect("jane")
    await jane.subscribe("pairs", ack=True, prefetch=2)
    yield Claim("what it comes back with is not dropped", ["harmless"], await heard(jane))
    server: Any = lab.server
    lab.restart(type(server)(ack_timeout=0.1, seed=42))
    boss, frank = await lab.connect("boss"), await lab.connect("frank")
    await frank.subscribe("jobs", ack=True, prefetch=1)
    await boss.send("jobs", "too long", delivery="one")
    await boss.send("jobs", "short", delivery="one")
    jobs = texts([await frank.next_message() for _ in range(4)])
    yield Claim("to expire is to come back, too", ["too long"] * 3 + ["short"], jobs)


EXERCISES = (nack, poison)
