"""The playground, operated as in the browser: by clicking its buttons."""

from collections.abc import AsyncIterator

import ipywidgets as widgets
import pytest

from stages.lab.playground import Playground, playground


@pytest.fixture
async def play() -> AsyncIterator[Playground]:
    play = playground()
    yield play
    play.lab.stop()
    play.folder.cleanup()


async def click(play: Playground, label: str) -> None:
    buttons = [
        child
        for row in play.panel.children
        if isinstance(row, widgets.HBox)
        for child in row.children
    ]
    (button,) = [
        button
        for button in buttons
        if isinstance(button, widgets.Button) and button.description == label
    ]
    button.click()
    assert play.running
    await play.running


async def test_its_buttons_do_what_they_say(play: Playground) -> None:
    play.stage.value = "last_seen"
    await click(play, "Connect")
    await click(play, "Connect")
    assert play.client.options == ("alice", "bob")
    await click(play, "Subscribe")
    play.client.value = "alice"
    await click(play, "Send to all")
    await click(play, "Send to one")
    play.last_seen.value = "0"
    await click(play, "Subscribe")
    play.client.value = "bob"
    await click(play, "Kill")
    await click(play, "Disconnect")
    assert play.problem.value == ""
    assert str(play.lab.diagram()).splitlines() == [
        "alice  connects",
        "bob    connects",
        "bob    --> server  subscribe foo",
        "alice  --> server  send foo 'hello' delivery=all",
        "server --> bob     #0 'hello'",
        "           cache foo: +#0 'hello'",
        "alice  --> server  send foo 'hello' delivery=one",
        "server --> bob     #1 'hello'",
        "alice  --> server  subscribe foo last_seen=0",
        "bob    breaks off",
        "alice  leaves",
    ]
    assert play.state.value.startswith(
        "<pre>subscribers: {&#x27;foo&#x27;: [&#x27;(gone)&#x27;, &#x27;(gone)&#x27;]}\nmessages: "
    )
    assert bytes(play.picture.value).startswith(b"<svg")


async def test_restarting_forgets_everything_and_disconnects_everybody(play: Playground) -> None:
    await click(play, "Connect")
    await click(play, "Subscribe")
    await click(play, "Restart")
    assert play.client.options == ()
    assert str(play.lab.diagram()).endswith("alice  is disconnected")
    assert play.state.value == "<pre></pre>"
    await click(play, "Connect")
    assert play.problem.value == ""


async def test_what_goes_wrong_is_shown_in_the_panel(play: Playground) -> None:
    await click(play, "Subscribe")
    assert "no client is connected" in play.problem.value
    await click(play, "Connect")
    assert play.problem.value == ""
    play.name.value = "alice"
    await click(play, "Connect")
    assert "there is a client &#x27;alice&#x27; already" in play.problem.value
    play.name.value = " "
    await click(play, "Connect")
    assert "the new client has no name" in play.problem.value
    play.stage.value = "last_seen"
    play.name.value = "alice"
    await click(play, "Connect")
    play.last_seen.value = "soon"
    await click(play, "Subscribe")
    assert "the server says: &#x27;last_seen&#x27; must be an index" in play.problem.value


async def test_its_text_form_is_stable(play: Playground) -> None:
    assert play._repr_mimebundle_()["text/plain"] == "<playground>"


async def test_it_works_with_the_stages_beyond_the_article(play: Playground) -> None:
    play.stage.value = "beyond.durable"
    await click(play, "Connect")
    play.acknowledges.value = True
    await click(play, "Subscribe")
    await click(play, "Send to one")
    await click(play, "Send to one")
    await click(play, "Acknowledge")
    await click(play, "Unsubscribe")
    assert play.problem.value == ""
    await click(play, "Acknowledge")
    assert "Nothing to acknowledge (message 0 of this topic is not with you" in play.problem.value
    await click(play, "Restart")
    await click(play, "Connect")
    await click(play, "Subscribe")
    assert str(play.lab.diagram()).splitlines()[-4:] == [
        "bob    --> server  subscribe foo ack=True  ✓",
        "server --> bob     #1 'hello' again (replay)",
        "           cache foo: -#1 'hello' again",
        "           cache foo with bob: +#1 'hello' again",
    ]
