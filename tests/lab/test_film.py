"""The film of a lab, and the page with the same story on two stages."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from stages import basic, caching, last_seen
from stages.beyond import acks, durable
from stages.client import Client
from stages.lab import compare, launch, stories
from stages.lab.pictures.film import LIMIT, Film
from stages.lab.pictures.svg import width_of
from stages.lab.workbench.lab import Lab

pytestmark = pytest.mark.slow

SVG = "{http://www.w3.org/2000/svg}"


async def film_of(story: Callable[[Lab], Any], server: Any) -> Film:
    with launch(server) as lab:
        await story(lab)
        return lab.film()


def seen_at(film: Film, second: float) -> list[tuple[str, str]]:
    """What can be read in a film at a moment: each text, with the classes around it."""
    return list(visible(ElementTree.fromstring(film.svg()), second / film.length, ""))


def visible(element: ElementTree.Element, moment: float, around: str) -> Any:
    classes = element.get("class", "")
    for animation in element.findall(f"{SVG}animate"):
        assert animation.attrib["attributeName"] == "class"
        times = map(float, animation.attrib["keyTimes"].split(";"))
        names = animation.attrib["values"].split(";")
        classes = [name for at, name in zip(times, names, strict=True) if at <= moment][-1]
    if classes in ("no", "still"):
        return
    around = f"{around} {classes}".strip()
    if element.tag == f"{SVG}text" and not is_other_name(around):
        yield around, element.text or ""
    for child in element:
        yield from visible(child, moment, around)


def is_other_name(classes: str) -> bool:
    """Of the two names of a client, the one that is not shown now."""
    away = "left" in classes.split() or "down" in classes.split()
    return ("name" if away else "away") in classes.split()


def texts(film: Film, second: float, kind: str = "") -> list[str]:
    return [text for classes, text in seen_at(film, second) if kind in classes]


TOLD = """\
alice connects
bank connects
alice subscribes to payments (last_seen=-1)
bank sends 100 to Bob to payments → alice gets it
alice breaks off → the server has not noticed
bank sends 200 to Carol to payments → alice is gone and misses it, but it is kept
alice connects
alice subscribes to payments (last_seen=-1) → alice gets the 2 messages that waited"""


async def payments(lab: Lab) -> None:
    alice, bank = await lab.connect("alice"), await lab.connect("bank")
    await alice.subscribe("payments", last_seen=-1)
    await bank.send("payments", "100 to Bob")
    await alice.break_off()
    await bank.send("payments", "200 to Carol")
    alice = await lab.connect("alice")
    await alice.subscribe("payments", last_seen=-1)


async def test_a_film_tells_what_happened_the_same_each_time() -> None:
    films = [await film_of(payments, last_seen.Server(seed=42)) for _ in range(3)]
    assert len({film.svg() for film in films}) == 1
    assert str(films[0]) == TOLD
    still = ElementTree.fromstring(films[0].svg()).find(f"{SVG}g[@class='still']")
    assert still is not None
    assert [text.text for text in still] == TOLD.splitlines()


async def test_ghosts_duplicates_and_what_is_kept_are_seen() -> None:
    film = await film_of(payments, last_seen.Server(seed=42))
    missing = film.beats[5].arrived + 0.01
    assert texts(film, missing, "ghost") == ["alice"]
    assert "alice (gone)" in texts(film, missing)
    assert [text for text in texts(film, missing) if text.startswith("#1")] == ["#1 200 to Carol"]
    assert texts(film, film.length, "pill") == ["alice"]
    assert texts(film, film.length, "twice") == ["#0 100 to Bob ×2"]
    assert texts(film, film.length).count("#1 200 to Carol") == 2  # kept, and received


async def test_what_became_of_it_is_said_after_it_has_happened() -> None:
    film = await film_of(payments, last_seen.Server(seed=42))
    for beat in film.beats:
        during = texts(film, (beat.start + beat.arrived) / 2, "said")
        assert during == [beat.said]
        after = texts(film, beat.arrived + 0.01, "said")
        assert after == [beat.said, *([f"→ {beat.outcome}"] if beat.outcome else [])]


async def test_nobody_there_is_said_and_gone() -> None:
    async def breakfast(lab: Lab) -> None:
        shop = await lab.connect("shop")
        await shop.send("orders", "breakfast")

    assert str(await film_of(breakfast, basic.Server())).endswith("→ nobody there: gone")
    assert str(await film_of(breakfast, caching.Server())).endswith("→ nobody there: kept")


async def test_a_worker_that_dies_leaves_its_work_to_another() -> None:
    film = await film_of(stories.workers, acks.Server(seed=42))
    assert str(film).splitlines()[-3:] == [
        "alice breaks off → what it had waits for another worker",
        "bob subscribes to jobs (ack=True, prefetch=1) → bob gets the message that waited",
        "bob has done #0 of jobs → bob gets #1 feed",
    ]
    assert "alice has, of jobs" in texts(film, film.beats[4].arrived + 0.01)
    assert "alice has, of jobs" not in texts(film, film.length)
    assert "bob has, of jobs" in texts(film, film.length)


@pytest.mark.parametrize(("kind", "left"), [(acks, 0), (durable, 1)])
async def test_a_restart_is_seen_and_what_it_leaves(kind: Any, left: int, tmp_path: Path) -> None:
    fields = {"data": str(tmp_path / "messages.db")} if kind is durable else {}

    async def crash(lab: Lab) -> None:
        boss = await lab.connect("boss")
        await boss.send("jobs", "wash", delivery="one")
        lab.restart(replace(lab.server))  # type: ignore[type-var]

    film = await film_of(crash, kind.Server(**fields))
    restart = film.beats[2]
    outcome = "it has all it kept" if left else "all it kept is gone"
    assert (restart.said, restart.outcome) == ("server restarts", outcome)
    middle = (restart.start + restart.at_server) / 2
    assert f"server: {kind.__name__.rpartition('.')[2]} (down)" in texts(film, middle)
    assert texts(film, film.length).count("#0 wash") == left
    assert texts(film, film.length).count("keeps on disk, of jobs") == left


async def test_a_long_story_is_folded_into_a_small_film() -> None:
    names = [f"{'very ' * n}long name" for n in range(9)]

    async def crowd(lab: Lab) -> None:
        clients = [await lab.connect(name) for name in names]
        for client in clients:
            for number in range(7):
                await client.subscribe(f"topic {number}")
        for client in clients:
            await client.send("topic 0", "x" * 1000)

    film = await film_of(crowd, last_seen.Server(seed=42))
    assert len(film.svg().encode()) <= LIMIT
    assert str(film).startswith(f"(after {film.first} steps)")
    shown = texts(film, film.length)
    assert "all others" in shown
    assert any(text.startswith("and ") and text.endswith(" more") for text in shown)
    assert any(text.startswith("… ") and text.endswith(" before") for text in shown)


async def a_long_replay(lab: Lab) -> None:
    bob, alice = await lab.connect("bob"), await lab.connect("alice")
    for number in range(100):
        await bob.send("foo", f"message number {number}")
    await alice.subscribe("foo")


async def many_readers(lab: Lab) -> None:
    readers = [await lab.connect(f"reader {number}") for number in range(40)]
    for reader in readers:
        await reader.subscribe("foo")
    await readers[0].send("foo", "hello")


async def hostile_texts(lab: Lab) -> None:
    bob = await lab.connect("<b onload='x()'>\"&amp; __DATA__")
    alice = await lab.connect("\u6f22\u5b57" * 300)
    topic = "\u200b]]><script>\x07" * 500
    await alice.subscribe(topic, mood="\x07" * 40_000)
    await bob.send(topic, "\x00\ud800\u202e" + "\u6f22" * 9_000, index="\x07" * 9_000)
    await bob.raw('{"command": "ack", "topic": "x", "index": "\x07"}')
    await bob.raw("{'command': 'send', 'topic': 'no message'}")


@pytest.mark.parametrize("story", [a_long_replay, many_readers, hostile_texts])
async def test_a_film_is_small_and_well_formed_whatever_was_sent(story: Any) -> None:
    for kind in (basic.Server, caching.Server, last_seen.Server):
        with launch(kind()) as lab:
            await story(lab)
            film, diagram = lab.film(), lab.diagram()
        assert len(film.svg().encode()) <= LIMIT
        for svg in (film.svg(), diagram.svg()):
            root = ElementTree.fromstring(svg)
        for classes, text in seen_at(film, film.length):
            if "said" in classes:
                assert width_of(text) <= 800 - 48
        assert int(root.attrib["width"]) < 10_000


async def test_only_what_came_twice_is_marked(tmp_path: Path) -> None:
    async def hello(lab: Lab) -> None:
        alice = await lab.connect("alice")
        for topic in ("x", "y"):
            await alice.subscribe(topic)
            await alice.send(topic, "hello")
        await alice.send("x", "hello")
        await alice.send("x", "hello again")

    for server in (basic.Server(), last_seen.Server()):
        film = await film_of(hello, server)
        assert texts(film, film.length, "twice") == []


async def test_what_is_kept_and_what_is_lost_is_told_apart_where_messages_are_alike() -> None:
    async def alike(lab: Lab) -> None:
        bob = await lab.connect("bob")
        await bob.send("foo", "hi")
        await bob.send("foo", "hi")
        alice = await lab.connect("alice")
        await alice.subscribe("foo")
        await alice.break_off()
        await bob.send("foo", "hi", delivery="one")

    told = str(await film_of(alike, caching.Server(cache_length=1)))
    assert told.count("nobody there: kept") == 2
    assert "lost: alice is gone" in told


async def test_a_client_that_is_no_labs_is_seen() -> None:
    with launch(basic.Server()) as lab:
        background: Any = lab.background
        async with await Client.connect(background.port) as stranger:
            await stranger.subscribe("foo")
            bob = await lab.connect("bob")
            await bob.send("foo", "hello")
            film = lab.film()
    assert "a client" in texts(film, film.length)
    assert str(film).endswith("→ a client gets it")


async def test_a_topic_may_look_like_a_workers_pile() -> None:
    async def tea(lab: Lab) -> None:
        alice, bob = await lab.connect("alice"), await lab.connect("bob")
        await bob.send("tea with alice", "at five")
        await alice.leave()

    told = str(await film_of(tea, caching.Server()))
    assert told.endswith("alice leaves")


def width(text: str) -> float:
    return 7.8 * len(text)


async def test_nothing_in_a_film_is_clipped_and_it_needs_no_ids_or_scripts() -> None:
    film = await film_of(payments, last_seen.Server(seed=42))
    root = ElementTree.fromstring(film.svg())
    for element in root.iter():
        assert "id" not in element.attrib
        assert element.tag.removeprefix(SVG) in {
            "svg", "title", "style", "g", "rect", "line", "path", "text", "animate", "animateTransform"
        }  # fmt: skip
        if element.tag == f"{SVG}text" and "x" in element.attrib:
            x, y, long = (
                int(element.attrib["x"]),
                int(element.attrib["y"]),
                width(element.text or ""),
            )
            left = x - long / 2 if "mid" in element.get("class", "") else x
            assert left >= 0
            assert left + long <= int(root.attrib["width"])
            assert 0 < y < int(root.attrib["height"])


async def test_a_notebook_gets_an_image_that_needs_no_trust_and_gives_nothing_away() -> None:
    with launch(basic.Server()) as lab:
        alice = await lab.connect("alice")
        await alice.send("foo", "hello")
        for picture in (lab.film(), lab.diagram()):
            html = picture._repr_mimebundle_()["text/html"]
            first, _, image = html.partition("\n")
            assert first == "<!-- What do you expect? Run the cell. -->"
            assert re.fullmatch(r'<img [^<>]* src="data:image/svg\+xml;base64,[\w+/=]+">', image)
            assert b64decode(image.partition("base64,")[2][:-2]).decode() == picture.svg()


async def test_the_pages_of_all_stories_are_small_self_contained_and_the_same_each_time() -> None:
    pages = [page async for page in stories.pages()]
    assert pages == [page async for page in stories.pages()]
    assert len(pages) == len(stories.STORIES)
    for _, text in pages:
        assert len(text.encode()) <= 100_000
        assert set(re.findall(r"https?://[^\"' <]*", text)) == {"http://www.w3.org/2000/svg"}


async def test_a_comparison_has_the_calls_of_each_step_and_none_of_the_labs() -> None:
    comparison = await compare(stories.payments, caching.Server(seed=42), last_seen.Server(seed=42))
    data = comparison.data()
    names = [name for name, *_ in data["functions"]]
    before, after = [[names[call] for call, _ in film[-1][2]] for film in data["films"]]
    assert set(after) - set(before) == {"last_seen.check", "last_seen.unseen"}
    assert set(before) - set(after) == set()
    (ran,) = [lines for call, lines in data["films"][1][-1][2] if names[call] == "last_seen.unseen"]
    _, file, source = data["functions"][names.index("last_seen.unseen")]
    assert list(ran) == [n for n, line in enumerate(source) if n and '"""' not in line]
    assert file == "last_seen.py"
    assert "lab-ping" not in json.dumps(data)
    assert str(comparison).startswith("caching:\nalice connects\n")


async def test_a_class_is_no_server_to_compare() -> None:
    with pytest.raises(TypeError, match=r"expected a server, such as Server\(\), not"):
        await compare(stories.orders, basic.Server, basic.Server())  # type: ignore[arg-type]


async def test_a_story_that_does_nothing_is_refused() -> None:
    async def nothing(lab: Lab) -> None:
        pass

    with pytest.raises(ValueError, match="the story did nothing: expected one that connects"):
        await compare(nothing, basic.Server(), basic.Server())


async def test_a_page_survives_any_text_and_its_films_begin_at_the_same_step() -> None:
    async def placeholders(lab: Lab) -> None:
        """__FILMS__ __DATA__"""
        await hostile_texts(lab)
        await a_long_replay(lab)

    comparison = await compare(placeholders, basic.Server(), caching.Server())
    assert len(comparison.page().encode()) <= 100_000
    assert len({film.first for film, _ in comparison.recordings}) == 1
    assert comparison.page().count("const DATA = {") == 1


async def test_in_a_notebook_that_is_not_trusted_a_comparison_is_two_films() -> None:
    comparison = await compare(stories.payments, caching.Server(seed=42), last_seen.Server(seed=42))
    html = comparison._repr_mimebundle_()["text/html"]
    sanitized = re.sub("<style>.*?</style>|<iframe.*?</iframe>", "", html, flags=re.DOTALL)
    assert sanitized.count("<img ") == 2
    assert "script" not in sanitized
