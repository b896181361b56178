"""The exercises of lesson 2."""

from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, heard
from stages.lab.workbench.lab import Lab


async def no_echo(lab: Lab) -> Claims:
    """A sender does not hear its own messages."""
    alice, bob, carol = [await lab.connect(name) for name in ("alice", "bob", "carol")]
    await alice.subscribe("foo")
    await bob.subscribe("foo")
    await alice.send("foo", "hello")
    yield Claim("the sender does not hear itself", [], await heard(alice))
    yield Claim("the others do", ["hello"], await heard(bob))
    await bob.send("foo", "hello, alice")
    yield Claim("it hears what others send", ["hello, alice"], await heard(alice))
    yield Claim("and these do not hear themselves", ["hello"], await heard(bob))
    await carol.send("foo", "just passing")
    await alice.send("foo", "who was that?")
    yield Claim("to send is not to subscribe", [], await heard(carol))
    before = await heard(bob)
    for number in range(10):
        await alice.send("foo", number, delivery="one")
    await bob.send("empty", "nobody is there", delivery="one")
    await bob.subscribe("alone")
    await bob.send("alone", "only me", delivery="one")
    yield Claim(
        "a `one` message is never drawn for its sender", [*before, *range(10)], await heard(bob)
    )


async def by_turns(lab: Lab) -> Claims:
    """`one` messages go to the subscribers in turn, in each topic."""
    boss, *workers = [await lab.connect(name) for name in ("boss", "alice", "bob", "carol", "dave")]
    await boss.send("jobs", "nobody is there", delivery="one")
    for worker in workers[:3]:
        await worker.subscribe("jobs")
        await worker.subscribe("other jobs")
    for number in range(9):
        await boss.send("jobs", number, delivery="one")
    jobs = [await heard(worker) for worker in workers[:3]]
    done = sorted(job for each in jobs for job in each)
    yield Claim("each message goes to one worker", list(range(9)), done)
    yield Claim("each worker gets as many", [3, 3, 3], [len(each) for each in jobs])
    order = [next(n for n, each in enumerate(jobs) if job in each) for job in done]
    yield Claim("they take turns", order[:3] * 3, order)

    async def shares(name: str) -> list[int]:
        """How many of the messages of this name each worker has got."""
        return [sum(str(text).startswith(name) for text in await heard(each)) for each in workers]

    for number in range(6):
        await boss.send("jobs", f"of two topics {number}", delivery="one")
        for _ in range(2):
            await boss.send("other jobs", "in between", delivery="one")
    yield Claim("whatever other topics do", [2, 2, 2, 0], await shares("of two topics"))
    for number in range(6):
        for _ in range(2):
            await boss.send("jobs", "news", delivery="all")
        await boss.send("jobs", f"mixed {number}", delivery="one")
    yield Claim("whatever is sent to all", [2, 2, 2, 0], await shares("mixed"))
    await workers[0].subscribe("jobs")  # once more: it does not double her turns
    await workers[3].subscribe("jobs")
    for number in range(8):
        await boss.send("jobs", f"late {number}", delivery="one")
    yield Claim("also with one that comes later", [2, 2, 2, 2], await shares("late"))


EXERCISES = (no_echo, by_turns)
