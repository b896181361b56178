"""The playground, operated as in the browser: by clicking its buttons."""

from collections.abc import AsyncIterator, Iterator

import ipywidgets as widgets
import pytest

from stages import STAGES
from stages.lab.playground import SCENARIOS, Playground, playground

pytestmark = pytest.mark.slow


@pytest.fixture
async def play() -> AsyncIterator[Playground]:
    play = await playground()
    assert play.topic.value == "score"  # of the scenario
    play.topic.value = "foo"
    yield play
    play.lab.stop()
    play.folder.cleanup()


def buttons(widget: widgets.Widget) -> Iterator[widgets.Button]:
    if isinstance(widget, widgets.Button):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from buttons(child)


def card(play: Playground, name: str) -> widgets.Widget:
    (found,) = [
        each
        for each in play.cards.children
        if isinstance(each, widgets.VBox) and f"<b>{name}</b>" in each.children[0].value
    ]
    return found


async def click(play: Playground, label: str, name: str = "") -> None:
    within = card(play, name) if name else play.panel
    button = next(button for button in buttons(within) if button.description == label)
    button.click()
    await play.idle()


async def choose(play: Playground, stage: str) -> None:
    play.stage.value = stage
    await play.idle()


def last_lines(play: Playground, number: int) -> list[str]:
    return str(play.lab.diagram()).splitlines()[-number:]


async def test_at_first_a_scenario_has_been_played(play: Playground) -> None:
    assert str(play.film).splitlines()[-1] == (
        "alice subscribes to score → alice gets the 2 messages that waited"
    )
    assert bytes(play.picture.value) == play.film.svg().encode()
    assert "<code>caching.replay</code>" in play.ran.value


async def test_each_button_of_a_card_does_what_it_says_and_shows_that_step(
    play: Playground,
) -> None:
    await click(play, "reset")
    await click(play, "+ alice")
    await click(play, "+ bob")
    await click(play, "subscribe", "bob")
    await click(play, "send to all", "alice")
    assert str(play.film) == "(after 3 steps)\nalice sends hello 1 to foo → bob gets it"
    assert play.message.value == "hello 2"
    await click(play, "to one", "alice")
    assert str(play.film).endswith("alice sends hello 2 to foo (for one) → bob gets it")
    await click(play, "crash", "bob")
    assert str(play.film).endswith("bob breaks off → the server has not noticed")
    await click(play, "leave", "alice")
    assert play.problem.value == ""
    assert list(play.lab.clients) == []
    assert "is gone" in card(play, "bob").children[0].value
    assert "foo&#x27;: [&#x27;bob (gone)&#x27;]" in play.state.value


async def test_only_what_the_stage_has_is_shown(play: Playground) -> None:
    shown = {}
    for stage in STAGES:
        await choose(play, stage)
        shown[stage] = {button.description for button in buttons(card(play, "alice"))}
    assert shown["basic"] == {"subscribe", "send to all", "leave", "crash"}
    assert shown["delivery"] == shown["disconnects"] == shown["basic"] | {"to one"}
    assert shown["beyond.replies"] == shown["delivery"] | {"unsubscribe"}
    assert shown["beyond.acks"] == shown["beyond.fast"] == shown["beyond.replies"] | {"done"}


async def test_a_card_remembers_what_it_has_seen_and_subscribes_after_it(play: Playground) -> None:
    await choose(play, "last_seen")
    play.topic.value = "score"
    await click(play, "crash", "alice")
    await click(play, "send to all", "bob")
    await click(play, "connect", "alice")
    assert "has seen #1" in card(play, "alice").children[0].value
    await click(play, "subscribe", "alice")
    assert last_lines(play, 2) == [
        "alice  --> server  subscribe score (last_seen=1)",
        "server --> alice   #2 hello 3 (replay)",
    ]


async def test_the_story_goes_on_on_another_stage(play: Playground) -> None:
    await choose(play, "delivery")
    assert "nobody there: gone" in str(play.film)
    await choose(play, "beyond.fast")
    assert play.problem.value == ""
    assert str(play.film).endswith("alice gets the 2 messages that waited")
    await choose(play, "beyond.acks")
    await click(play, "play")
    assert play.problem.value == ""


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("on", ["basic", "beyond.replies", "beyond.durable"])
async def test_every_scenario_plays_on_the_first_stages_and_on_the_last(
    play: Playground, scenario: str, on: str
) -> None:
    await choose(play, "beyond.acks")
    play.scenario.value = scenario
    await click(play, "play")
    assert play.problem.value == ""
    await choose(play, on)
    assert play.problem.value == ""
    await click(play, "play")  # from the start, there
    assert play.problem.value == ""
    assert play.film.title == on.rpartition(".")[2]


async def test_a_step_back_takes_back_the_last_step(play: Playground) -> None:
    before = str(play.lab.diagram())
    await click(play, "crash the server")
    assert last_lines(play, 4)[0].startswith("server restarts")
    await click(play, "step back")
    assert str(play.lab.diagram()) == before
    assert list(play.lab.clients) == ["bob", "alice"]


async def test_a_worker_acknowledges_and_what_was_stored_survives(play: Playground) -> None:
    await choose(play, "beyond.durable")
    await click(play, "reset")
    await click(play, "+ alice")
    await click(play, "subscribe", "alice")
    await click(play, "to one", "alice")
    await click(play, "to one", "alice")
    await click(play, "done", "alice")
    assert last_lines(play, 4)[0] == "alice  --> server  ack foo #0  ✓"
    await click(play, "crash the server")
    await click(play, "connect", "alice")
    await click(play, "done", "alice")
    assert "alice has no work of foo to acknowledge" in play.problem.value
    await click(play, "+ bob")
    await click(play, "subscribe", "bob")
    assert "server --> bob     #1 hello 2 again (replay)" in last_lines(play, 3)


async def test_what_the_server_refuses_is_shown_in_the_panel(play: Playground) -> None:
    await choose(play, "beyond.replies")
    play.topic.value = "x" * 300
    await click(play, "subscribe", "alice")
    assert "the server says: Malformed json message" in play.problem.value
    play.topic.value = "foo"
    await click(play, "subscribe", "alice")
    assert play.problem.value == ""


async def test_without_a_kernel_it_is_a_film(play: Playground) -> None:
    bundle = play._repr_mimebundle_()
    assert bundle["text/html"].startswith("<img ")
    assert bundle["text/plain"] == f"<playground>\n{play.film}"
