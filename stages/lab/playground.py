"""The playground: a server and its clients to be operated by hand, in a notebook."""

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable, Coroutine
from html import escape
from tempfile import TemporaryDirectory
from typing import Any

import ipywidgets as widgets

from stages import STAGES
from stages.client.conversation import kind_of, rejection
from stages.lab.workbench.background import launch
from stages.lab.workbench.lab import NamedClient
from stages.lab.workbench.state import State
from stages.settings import settings_of

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")


def playground() -> "Playground":
    """A panel with buttons, on a real server: choose a stage, connect clients, send, and watch the
    diagram grow."""
    return Playground()


class Playground:
    """The panel. Each button calls the method of the same name; what goes wrong is shown below the
    buttons."""

    def __init__(self) -> None:
        self.stage = widgets.Dropdown(options=list(STAGES), description="stage")
        self.name = widgets.Text("alice", description="new client")
        self.client = widgets.Dropdown(description="client")
        self.topic = widgets.Text("foo", description="topic")
        self.last_seen = widgets.Text(placeholder="none", description="last_seen")
        self.acknowledges = widgets.Checkbox(
            description="ack", indent=False, layout={"width": "auto"}
        )
        self.index = widgets.Text("0", description="index")
        self.message = widgets.Text("hello", description="message")
        self.problem = widgets.HTML()
        self.state = widgets.HTML()
        self.picture = widgets.Image(
            format="svg+xml", layout={"align_self": "flex-start", "max_width": "100%"}
        )
        self.running: asyncio.Task[None] | None = None
        self.folder = TemporaryDirectory()  # for what survives a restart
        self.lab = launch(self.new_server())
        self.stage.observe(lambda _: self.do(self.restart), names="value")
        self.panel = widgets.VBox([*self.rows(), self.problem, self.picture, self.state])
        self.refresh()

    def rows(self) -> list[widgets.HBox]:
        return [
            widgets.HBox([self.stage, self.button("Restart", self.restart)]),
            widgets.HBox([self.name, self.button("Connect", self.connect)]),
            widgets.HBox(
                [
                    self.client,
                    self.button("Disconnect", self.disconnect),
                    self.button("Kill", self.kill),
                ]
            ),
            widgets.HBox([self.topic, self.button("Unsubscribe", self.unsubscribe)]),
            widgets.HBox(
                [self.last_seen, self.acknowledges, self.button("Subscribe", self.subscribe)]
            ),
            widgets.HBox(
                [
                    self.message,
                    self.button("Send to all", lambda: self.send("all")),
                    self.button("Send to one", lambda: self.send("one")),
                ]
            ),
            widgets.HBox([self.index, self.button("Acknowledge", self.acknowledge)]),
        ]

    def button(self, label: str, action: Callable[[], Coroutine[Any, Any, None]]) -> widgets.Button:
        button = widgets.Button(description=label)
        button.on_click(lambda _: self.do(action))
        return button

    def do(self, action: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start an action, after the one before; `await play.running` waits for it."""
        self.running = asyncio.ensure_future(self.one_after_another(self.running, action))

    async def one_after_another(
        self, before: Awaitable[None] | None, action: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        if before:
            await before
        self.problem.value = ""
        try:
            await action()
        except Exception as problem:
            self.problem.value = (
                f"<b style='color:#cf222e'>{escape(str(problem) or repr(problem))}</b>"
            )
        self.refresh()
        self.show_state(await self.lab.state())

    def new_server(self) -> Any:
        server = importlib.import_module(f"stages.{self.stage.value}").Server
        kept = (
            {"data": os.path.join(self.folder.name, "messages.db")}
            if "data" in [field.name for field in settings_of(server)]
            else {}
        )
        return server(**kept)

    def chosen(self) -> NamedClient:
        if self.client.value is None:
            raise ValueError("no client is connected: expected one to be connected first")
        return self.lab.clients[self.client.value]

    async def restart(self) -> None:
        self.lab.restart(self.new_server())

    async def connect(self) -> None:
        if not self.name.value.strip():
            raise ValueError("the new client has no name: expected one, such as alice")
        name = (await self.lab.connect(self.name.value.strip())).name
        self.refresh()
        self.client.value = name
        self.name.value = next(
            (n for n in NAMES if n not in self.lab.clients), f"client {len(self.lab.clients) + 1}"
        )

    async def disconnect(self) -> None:
        await self.chosen().leave()

    async def kill(self) -> None:
        await self.chosen().break_off()

    async def subscribe(self) -> None:
        seen = self.last_seen.value.strip()
        fields = ({"last_seen": int_or_text(seen)} if seen else {}) | (
            {"ack": True} if self.acknowledges.value else {}
        )
        await self.command({"command": "subscribe", "topic": self.topic.value, **fields})

    async def unsubscribe(self) -> None:
        await self.command({"command": "unsubscribe", "topic": self.topic.value})

    async def send(self, delivery: str) -> None:
        await self.command(
            {
                "command": "send",
                "topic": self.topic.value,
                "msg": self.message.value,
                "delivery": delivery,
            }
        )

    async def acknowledge(self) -> None:
        await self.command(
            {
                "command": "ack",
                "topic": self.topic.value,
                "index": int_or_text(self.index.value.strip()),
            }
        )

    async def command(self, command: dict[str, Any]) -> None:
        client = self.chosen()
        before = len(client.heard)
        await client.ask(command)
        for answer in client.heard[before:]:
            if kind_of(answer) == "error" or not answer.get("success", True):
                raise rejection(answer)

    def refresh(self) -> None:
        """Show the clients, and the diagram."""
        kept, names = self.client.value, list(self.lab.clients)
        self.client.options = names
        self.client.value = kept if kept in names else next(iter(names), None)
        self.picture.value = self.lab.diagram().svg().encode()

    def show_state(self, state: State) -> None:
        """Show what the server knows: only of what there is something to tell."""
        about = {"subscribers": state.subscribers, "messages": state.messages, "sent": state.sent}
        lines = [f"{name}: {told}" for name, told in about.items() if told]
        self.state.value = f"<pre>{escape(chr(10).join(lines))}</pre>"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        return {**self.panel._repr_mimebundle_(**options), "text/plain": "<playground>"}


def int_or_text(text: str) -> int | str:
    """The number that a text spells; any other text as it is, for the server to reject."""
    return int(text) if text.removeprefix("-").isdecimal() else text
