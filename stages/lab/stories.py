"""A story for each step from one stage to the next: what the step was needed for.

    $ python -m stages.lab.stories FOLDER       # a page for each, on both stages

In a notebook: `await compare(stories.payments, caching.Server(), last_seen.Server())`.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from tqdm import tqdm

from stages import basic, caching, delivery, disconnects, last_seen, settings
from stages.beyond import acks, cluster, durable, fast, replies, secure, slow_consumers
from stages.beyond.door.users import User, hash_of
from stages.beyond.secure import Door
from stages.command_line import Parser
from stages.lab.workbench.compare import Story, compare
from stages.lab.workbench.lab import Lab


async def orders(lab: Lab) -> None:
    """Three cooks, and one pizza."""
    shop = await lab.connect("shop")
    for name in ("alice", "bob", "carol"):
        cook = await lab.connect(name)
        await cook.subscribe("orders")
    await shop.send("orders", "one pizza", delivery="one")
    await shop.send("orders", "closing at ten")


async def score(lab: Lab) -> None:
    """Bob sends the score. Alice tunes in a second later."""
    bob = await lab.connect("bob")
    await bob.send("score", "1:0")
    await bob.send("score", "1:1")
    alice = await lab.connect("alice")
    await alice.subscribe("score")


async def payments(lab: Lab) -> None:
    """Alice loses her connection, comes back, and says what she has seen last."""
    alice, bank = await lab.connect("alice"), await lab.connect("bank")
    await alice.subscribe("payments")
    await bank.send("payments", "100 to Bob")
    await alice.break_off()
    await bank.send("payments", "200 to Carol")
    alice = await lab.connect("alice")
    await alice.subscribe("payments", last_seen=0)


async def jobs(lab: Lab) -> None:
    """The only worker breaks off. A job comes in, then a new worker."""
    boss, bob = await lab.connect("boss"), await lab.connect("bob")
    await bob.subscribe("jobs")
    await bob.break_off()
    await boss.send("jobs", "wash the car", delivery="one")
    alice = await lab.connect("alice")
    await alice.subscribe("jobs")


async def typo(lab: Lab) -> None:
    """Which of Bob's messages was accepted? And can Alice stop listening?"""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("orders")
    await bob.send("orders", "two apples")
    await bob.send("orders", "three pears", delivery="any")
    await alice.unsubscribe("orders")
    await bob.send("orders", "four plums")


async def news(lab: Lab) -> None:
    """Everybody keeps up: the films are alike, and the ways through the code are not."""
    bob = await lab.connect("bob")
    for name in ("alice", "carol"):
        reader = await lab.connect(name)
        await reader.subscribe("news")
    await bob.send("news", "it rains")
    await bob.send("news", "it pours")


def as_worker(lab: Lab) -> dict[str, Any]:
    """How to subscribe for work, where the server knows how."""
    queue = getattr(lab.server, "behind", lab.server)  # there may be a door in front of it
    return {"ack": True, "prefetch": 1} if isinstance(queue, acks.Server) else {}


async def workers(lab: Lab) -> None:
    """Alice dies with work in her hands. Where the server knows how, the workers acknowledge."""
    boss, alice, bob = [await lab.connect(name) for name in ("boss", "alice", "bob")]
    await alice.subscribe("jobs", **as_worker(lab))
    await boss.send("jobs", "wash", delivery="one")
    await boss.send("jobs", "feed", delivery="one")
    await alice.break_off()
    await bob.subscribe("jobs", **as_worker(lab))
    if as_worker(lab):
        await bob.ack(await bob.next_message())


async def restart(lab: Lab) -> None:
    """A job is accepted, and the server restarts."""
    boss = await lab.connect("boss")
    await boss.send("jobs", "wash the car", delivery="one")
    lab.restart(again(lab.server))
    boss, bob = await lab.connect("boss"), await lab.connect("bob")
    await bob.subscribe("jobs", **as_worker(lab))
    await boss.send("jobs", "feed the cat", delivery="one")


def again(server: Any, burns: bool = False) -> Any:
    """A server with the same settings, and the same file; or another one, if that burns."""
    kind = type(server)
    values = {
        each.name: getattr(server, each.name, each.default) for each in settings.settings_of(kind)
    }
    if burns and values.get("data"):
        values["data"] = str(Path(server.data).with_name("another.db"))
    parts = {name: again(getattr(server, name), burns) for name in settings.parts_of(kind)}
    return kind(**parts, **values)


async def fire(lab: Lab) -> None:
    """The machine burns, with all that it had on disk; another one takes its place."""
    boss = await lab.connect("boss")
    await boss.send("jobs", "wash the car", delivery="one")
    lab.restart(again(lab.server, burns=True))
    bob = await lab.connect("bob")
    await bob.subscribe("jobs", **as_worker(lab))


def token_of(lab: Lab, name: str) -> str | None:
    """Who may do what, where there is a door; and what a client has to say there."""
    if not isinstance(lab.server, Door):
        return None
    if lab.server.registered is None:
        lab.server.registered = {
            "alice": User(hash_of("token of alice"), send=("mail/*",), subscribe=("mail/alice",)),
            "mallory": User(hash_of("token of mallory"), subscribe=("news",)),
        }
    return f"token of {name}"


async def mail(lab: Lab) -> None:
    """Mallory would like to read Alice's mail."""
    alice, mallory = [await lab.connect(name, token_of(lab, name)) for name in ("alice", "mallory")]
    await mallory.subscribe("mail/alice")
    await alice.subscribe("mail/alice")
    await alice.send("mail/alice", "my PIN is 1234")


STORIES: list[tuple[Story, type[Any], type[Any]]] = [
    (orders, basic.Server, delivery.Server),
    (score, delivery.Server, caching.Server),
    (payments, caching.Server, last_seen.Server),
    (jobs, last_seen.Server, disconnects.Server),
    (typo, disconnects.Server, replies.Server),
    (news, replies.Server, slow_consumers.Server),
    (workers, slow_consumers.Server, acks.Server),
    (restart, acks.Server, durable.Server),
    (news, durable.Server, fast.Server),
    (fire, fast.Server, cluster.Server),
    (mail, fast.Server, secure.Server),
]
"""Of each step the story, and the two stages."""


async def pages() -> AsyncIterator[tuple[str, str]]:
    """Yield the file name and the page of each story."""
    with TemporaryDirectory() as folder_for_files:
        for number, (story, *stages) in enumerate(tqdm(STORIES, unit="story"), 1):
            servers = [settings.for_trial(stage, mkdtemp(dir=folder_for_files)) for stage in stages]
            comparison = await compare(story, *servers)
            yield f"{number}_to_{number + 1}_{story.__name__}.html", comparison.page()


async def write_pages(folder: Path) -> None:
    async for name, page in pages():
        (folder / name).write_text(page, encoding="utf-8")


def main() -> None:
    """The command line: `python -m stages.lab.stories FOLDER`."""
    parser = Parser(prog="stages.lab.stories", description="Write a page for each story.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="one that is there")
    folder = parser.parse_args().folder
    if not folder.is_dir():
        parser.error(f"there is no folder {folder}")
    asyncio.run(write_pages(folder))


if __name__ == "__main__":
    main()
