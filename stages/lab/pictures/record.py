"""The record of what went over the wire, as the pictures show it: steps, what the server wrote in
each, and what became of it."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

from stages import wire
from stages.client.conversation import decode

Messages = dict[str, list[dict[str, Any]]]
"""Messages that a server keeps, by topic."""

Held = dict[tuple[str, str], list[dict[str, Any]]]
"""Messages that it keeps until a worker has done them, by topic and worker."""

LONGEST_TEXT, LONGEST_MSG = 48, 24  # characters shown


StepKind = Literal["connect", "subscribe", "send", "other", "leave", "restart"]

ArrowKind = Literal["deliver", "replay", "error", "lost", "missed"]
"""To a client that is gone: lost, or missed (but kept)."""

LOST = ("lost", "missed")

Departure = Literal["leaves", "closes its half", "breaks off", "is disconnected"]
"""How a connection ends: by its client, with a goodbye or without, or by the server."""


class Fate(NamedTuple):
    """What became of a message that went to nobody."""

    reached: Literal["nobody there", "nobody is free", "sent to nobody"]
    kept: bool

    def __str__(self) -> str:
        return f"{self.reached}: {'kept' if self.kept else 'gone'}"


def shortened(text: str, length: int = LONGEST_TEXT) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def printable(text: str) -> str:
    """The text on one line, with escapes for what cannot be seen."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def msg_text(msg: Any) -> str:
    text = msg if isinstance(msg, str) else repr(msg)
    return shortened(printable(text[: LONGEST_MSG + 1]), LONGEST_MSG)  # it may be long


def message_text(message: dict[str, Any]) -> str:
    """A message as the pictures show it: its text, and its index if it has one."""
    text = msg_text(message.get("msg", message))
    index = f"#{message['index']} " if "index" in message else ""
    return printable(shortened(index)) + text + " again" * ("redelivered" in message)


def command_in(line: str) -> wire.Command:
    """The command that a line spells, on either wire; of anything else, nothing."""
    try:
        command = decode(line.encode())
    except (wire.Error, UnicodeEncodeError):
        return {}
    return command if "command" in command and "topic" in command else {}


def extras(command: wire.Command) -> str:
    """The fields of a command that are worth a word, as in " (for one)"."""
    shown = {"delivery": {"one": "for one", "all": ""}}
    fields = {
        name: shown.get(name, {}).get(str(value), f"{name}={value!r}")
        for name, value in command.items()
        if name not in ("command", "topic", "msg", "index")
    }
    told = shortened(printable(", ".join(filter(None, fields.values()))))
    return f" ({told})" if told else ""


def command_text(command: wire.Command) -> str:
    """A command as the diagram shows it."""
    text = f"{command['command']} {command['topic']}"
    text += f": {msg_text(command['msg'])}" if "msg" in command else ""
    text += f" #{command['index']}" if "index" in command else ""
    return shortened(printable(text + extras(command)))


@dataclass(frozen=True)
class Subscriber:
    """A client to which the server sends a topic; `gone` if it has left, and the server does not
    know."""

    name: str
    gone: bool = False


@dataclass(frozen=True)
class Arrow:
    """Something the server wrote to a client."""

    kind: ArrowKind
    who: str
    text: str
    topic: Any = ""
    index: Any = None

    @property
    def has_come(self) -> bool:
        return self.kind in ("deliver", "replay")

    @property
    def is_lost(self) -> bool:
        return self.kind in LOST

    @property
    def label(self) -> str:
        return f"✗ {self.text}" if self.kind == "error" else self.text


class Known(Protocol):
    """What a server knows."""

    subscribers: dict[str, list[Subscriber]]
    messages: Messages
    held: Held
    on_disk: bool


@dataclass(eq=False)
class Step:
    """Something a client did, and what came of it; or a restart of the server, by nobody."""

    kind: StepKind
    who: str
    text: str
    command: wire.Command = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    answer: str = ""  # if the server answers commands
    kept: Messages = field(default_factory=dict)
    held: Held = field(default_factory=dict)
    subscribers: dict[str, list[Subscriber]] = field(default_factory=dict)
    on_disk: bool = False  # whether what is kept survives the server
    fate: Fate | None = None
    departure: Departure | None = None

    @classmethod
    def of_departure(cls, who: str, how: Departure) -> "Step":
        """The end of a client's connection."""
        return cls("leave", who, how, departure=how)

    @classmethod
    def of_line(cls, who: str, line: str) -> "Step":
        """What a client has said."""
        command = command_in(line)
        return cls.of(who, command) if command else cls("other", who, shortened(repr(line)[1:-1]))

    @classmethod
    def of(cls, who: str, command: wire.Command) -> "Step":
        """A command of a client."""
        verb = command["command"]
        kind: StepKind = (
            "subscribe" if verb == "subscribe" else "send" if verb == "send" else "other"
        )
        return cls(kind, who, command_text(command), command)

    @property
    def label(self) -> str:
        return f"{self.text}  {self.answer}".rstrip()

    @property
    def goes_to_server(self) -> bool:
        return self.kind not in ("connect", "leave", "restart")

    @property
    def topic(self) -> str:
        return shortened(printable(str(self.command.get("topic"))), LONGEST_MSG)

    def note_state(self, after: "Known", before: Messages) -> None:
        """Note what the server knows after the step, and so what became of its message."""
        self.kept, self.held = after.messages, after.held
        self.subscribers, self.on_disk = after.subscribers, after.on_disk
        topic = str(self.command.get("topic"))
        messages = self.kept.get(topic, [])
        for_all = self.command.get("delivery") != "one"
        texts = [message_text(message) for message in messages] if for_all else []
        self.arrows = [
            replace(arrow, kind="missed") if arrow.kind == "lost" and arrow.text in texts else arrow
            for arrow in self.arrows
        ]
        if self.kind == "send" and not self.arrows:
            # Where messages have no index, a full cache of equal ones does not change.
            same = messages and "index" not in messages[-1]
            same = same and messages[-1].get("msg") == self.command.get("msg")
            is_kept = bool(self.kept != before or same)
            if not self.subscribers.get(topic):
                self.fate = Fate("nobody there", is_kept)
            else:
                self.fate = Fate("nobody is free" if is_kept else "sent to nobody", is_kept)
