"""The playground: a server and its clients to be operated by hand, in a notebook.

Each client is a card with its own buttons; each click is played as a film of that step. Whatever
has been done is a story, which can be played on any other stage.
"""

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from html import escape
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import ipywidgets as widgets

from stages import STAGES, settings
from stages.client.conversation import kind_of, rejection
from stages.lab import stories
from stages.lab.pictures.film import Film
from stages.lab.pictures.record import Step
from stages.lab.pictures.svg import image
from stages.lab.workbench.background import Background
from stages.lab.workbench.reading import stage_name
from stages.lab.workbench.replay import SINCE, knows, replay
from stages.lab.workbench.trace import TracedLab

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
SCENARIOS = {
    "Three workers, one job": stories.orders,
    "Too late": stories.score,
    "The tunnel": stories.payments,
    "Work for the dead": stories.jobs,
    "The sick worker": stories.workers,
    "The long sleep": stories.restart,
}

Action = Callable[[], Coroutine[Any, Any, None]]


async def playground() -> "Playground":
    """A panel with buttons, on a real server: choose a stage, connect clients, send, crash them, and
    watch."""
    play = Playground()
    play.do(partial(play.begin, "Too late"))
    await play.idle()
    return play


class Playground:
    """The panel. What goes wrong is shown below the buttons; `lab` is what notebooks use."""

    lab: TracedLab
    first = 0
    """The step with which the film begins."""

    def __init__(self) -> None:
        wide = {"width": "auto"}
        self.stage = widgets.Dropdown(
            options=list(STAGES), value="caching", description="on stage", layout=wide
        )
        self.scenario = widgets.Dropdown(
            options=list(SCENARIOS), value="Too late", description="scenario", layout=wide
        )
        self.topic = widgets.Text("foo", description="topic", layout={"width": "220px"})
        self.message = widgets.Text(description="message", layout={"width": "240px"})
        self.cards = widgets.Box(layout={"flex_flow": "row wrap", "grid_gap": "8px"})
        self.problem, self.ran, self.state = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.picture = widgets.Image(
            format="svg+xml", layout={"align_self": "flex-start", "max_width": "100%"}
        )
        self.running: Future[None] | None = None
        self.loop = asyncio.get_running_loop()
        self.folder = TemporaryDirectory()  # for what survives a restart
        self.new_lab()
        self.stage.observe(lambda _: self.do(self.same_on_another_stage), names="value")
        play = self.button("play", lambda: self.begin(self.scenario.value), "primary")
        bar = [
            self.stage,
            self.button("crash the server", self.restart, "danger"),
            self.button("step back", self.step_back),
            self.button("reset", self.reset),
        ]
        rows = [[self.scenario, play], bar, [self.topic, self.message]]
        self.panel = widgets.VBox(
            [
                *[widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows],
                self.cards,
                self.problem,
                self.picture,
                self.ran,
                self.state,
            ]
        )

    # Buttons, and what happens one after the other

    def button(self, label: str, action: Action, style: str = "") -> widgets.Button:
        button = widgets.Button(
            description=label,
            button_style=style,
            layout={"width": f"{8 * len(label) + 26}px", "padding": "0"},
        )
        button.on_click(lambda _: self.do(action))
        return button

    def do(self, action: Action) -> None:
        """Start an action, after the one before; `await play.idle()` waits for it. A click may come in
        any thread: JupyterLab has some of their own for widgets."""
        action_in_turn = self.one_after_another(self.running, action)
        self.running = asyncio.run_coroutine_threadsafe(action_in_turn, self.loop)

    async def idle(self) -> None:
        if self.running:
            await asyncio.wrap_future(self.running)

    async def one_after_another(self, before: Future[None] | None, action: Action) -> None:
        if before:
            await asyncio.wait([asyncio.wrap_future(before)])
        self.problem.value = ""
        self.first = len(self.lab.steps)
        try:
            try:
                await action()
            finally:
                await self.show()
        except Exception as problem:
            self.problem.value = (
                f"<b style='color:#cf222e'>{escape(str(problem) or repr(problem))}</b>"
            )

    # The server

    def new_lab(self) -> None:
        self.data = mkdtemp(dir=self.folder.name)
        self.lab = TracedLab(self.new_server(), Background)

    def new_server(self) -> Any:
        stage = importlib.import_module(f"stages.{self.stage.value}").Server
        return settings.for_trial(stage, self.data)

    def has(self, feature: str) -> bool:
        return knows(list(STAGES), self.stage.value, feature)

    async def restart(self) -> None:
        self.lab.restart(self.new_server())

    async def reset(self) -> None:
        await self.play_again([])

    async def begin(self, scenario: str) -> None:
        await self.reset()
        await SCENARIOS[scenario](self.lab)
        topics = [step.command["topic"] for step in self.lab.steps if step.command]
        self.topic.value = topics[0]

    async def same_on_another_stage(self) -> None:
        await self.play_again(self.lab.steps)

    async def step_back(self) -> None:
        done = [step for step in self.lab.steps if step.departure != "is disconnected"]
        await self.play_again(done[:-1])
        self.first = max(0, len(self.lab.steps) - 1)

    async def play_again(self, steps: list[Step]) -> None:
        self.lab.stop()
        self.new_lab()
        known = {feature for feature in SINCE if self.has(feature)}
        await replay(steps, self.lab, known, self.new_server)
        self.first = 0

    # The clients

    def card(self, name: str) -> widgets.VBox:
        if name not in self.lab.clients:
            rows = [[self.button("connect", lambda: self.connect(name), "primary")]]
        else:
            rows = [
                [
                    self.button("subscribe", partial(self.subscribe, name)),
                    *self.known(name, "unsubscribe", "unsubscribe", self.unsubscribe),
                ],
                [
                    self.button("send to all", partial(self.send, name), "success"),
                    *self.known(name, "one", "to one", partial(self.send, delivery="one")),
                ],
                [
                    *self.known(name, "ack", "done", self.acknowledge),
                    self.button("leave", lambda: self.lab.clients[name].leave()),
                    self.button("crash", lambda: self.lab.clients[name].break_off(), "danger"),
                ],
            ]
        head = widgets.HTML(f"<b>{escape(name)}</b> {escape(self.about(name))}")
        return widgets.VBox(
            [head, *map(widgets.HBox, rows)],
            layout={"border": "1px solid #8c959f", "padding": "6px", "width": "250px"},
        )

    def known(self, name: str, feature: str, label: str, action: Any) -> list[widgets.Button]:
        """A button, if the stage has what it is for."""
        return [self.button(label, partial(action, name))] if self.has(feature) else []

    def about(self, name: str) -> str:
        seen = self.last_seen(name)
        gone = [] if name in self.lab.clients else ["is gone"]
        return ", ".join([*gone, *([f"has seen #{seen}"] if seen is not None else [])])

    def last_seen(self, name: str) -> int | None:
        """The last index of the topic that somebody of that name was sent; a new connection does not
        forget it."""
        marks = (
            arrow.index
            for step in self.lab.steps
            for arrow in step.arrows
            if (arrow.who, arrow.topic) == (name, self.topic.value) and arrow.has_come
        )
        return max((mark for mark in marks if isinstance(mark, int)), default=None)

    async def connect(self, name: str) -> None:
        await self.lab.connect(name)

    async def subscribe(self, name: str) -> None:
        seen = self.last_seen(name)
        fields: dict[str, Any] = {}
        if self.has("ack"):  # with `last_seen` a worker would not get older work
            fields = {"ack": True, "prefetch": 1}
        elif self.has("last_seen") and seen is not None:
            fields = {"last_seen": seen}
        await self.command(name, {"command": "subscribe", **fields})

    async def unsubscribe(self, name: str) -> None:
        await self.command(name, {"command": "unsubscribe"})

    async def send(self, name: str, delivery: str = "all") -> None:
        how = {"delivery": delivery} if self.has("one") else {}
        await self.command(name, {"command": "send", "msg": self.message.value, **how})

    async def acknowledge(self, name: str) -> None:
        held = (await self.lab.state()).held.get((self.topic.value, name), [])
        if not held:
            raise ValueError(f"{name} has no work of {self.topic.value} to acknowledge")
        await self.command(name, {"command": "ack", "index": held[0]["index"]})

    async def command(self, name: str, command: dict[str, Any]) -> None:
        client = self.lab.clients[name]
        before = len(client.heard)
        await client.ask({"topic": self.topic.value, **command})
        for answer in client.heard[before:]:
            if kind_of(answer) == "error" or not answer.get("success", True):
                raise rejection(answer)

    # What is seen

    async def show(self) -> None:
        """Show the cards, and a film: of what is new, or again and again of a whole story."""
        connected = [step.who for step in self.lab.steps if step.kind == "connect"]
        names = list(dict.fromkeys(connected))
        new = next((name for name in NAMES if name not in names), f"client {len(names) + 1}")
        self.cards.children = [
            *map(self.card, names),
            self.button(f"+ {new}", lambda: self.connect(new), "primary"),
        ]
        sent = sum(step.kind == "send" for step in self.lab.steps)
        self.message.value = f"hello {sent + 1}"
        if self.first < max(1, len(self.lab.steps)):  # else nothing has happened
            title = stage_name(type(self.lab.server))
            self.film = Film(self.lab.steps, title, self.first, loop=self.first == 0)
            self.picture.value = self.film.svg().encode()
        calls = [f"<code>{call.function}</code>" for call in (self.lab.calls() or [[]])[-1]]
        self.ran.value = f"<small>the last step ran {' → '.join(calls)}</small>" if calls else ""
        await self.show_state()

    async def show_state(self) -> None:
        """Show what the server knows: only of what there is something to tell."""
        state = await self.lab.state()
        subscribers = {
            topic: [each.name + " (gone)" * each.gone for each in clients]
            for topic, clients in state.subscribers.items()
        }
        held = {f"{worker} has {topic}": those for (topic, worker), those in state.held.items()}
        about = {
            "subscribers": subscribers,
            "messages": state.messages,
            "held": held,
            "sent": state.sent,
        }
        lines = [f"{name}: {told}" for name, told in about.items() if told]
        self.state.value = f"<pre>{escape(chr(10).join(lines))}</pre>"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The panel; where there is no kernel, the film of what has happened in it."""
        film = image(self.film.svg(), str(self.film))
        return {
            **self.panel._repr_mimebundle_(**options),
            "text/html": film,
            "text/plain": f"<playground>\n{self.film}",
        }
