"""The record of what went over the wire, as the diagram shows it: steps, and what the server wrote
in each."""

from dataclasses import dataclass, field
from typing import Any

from stages import wire
from stages.client.conversation import decode

Messages = dict[str, list[dict[str, Any]]]
"""Messages that a server keeps, by topic; or by topic and worker, as in "jobs with alice"."""

LONGEST_TEXT, LONGEST_MSG = 48, 24  # characters shown


def shortened(text: str, length: int = LONGEST_TEXT) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def message_text(message: dict[str, Any]) -> str:
    """A message as the diagram shows it: its text, and its index if it has one."""
    text = shortened(repr(message.get("msg", message)), LONGEST_MSG)
    return (f"#{message['index']} {text}" if "index" in message else text) + " again" * (
        "redelivered" in message
    )


def command_text(line: str) -> tuple[str, str]:
    """The kind of a command, on either wire, and how the diagram shows it; of anything else, just
    the text."""
    try:
        command = decode(line.encode())
        kind, topic = command.pop("command"), command.pop("topic")
    except (wire.Error, KeyError, UnicodeEncodeError):
        return "other", shortened(repr(line)[1:-1])
    msg = [shortened(repr(command.pop("msg")), LONGEST_MSG)] if "msg" in command else []
    fields = [f"{name}={value}" for name, value in command.items()]
    known = kind if kind in ("subscribe", "send") else "other"
    return known, shortened(printable(" ".join([str(kind), str(topic), *msg, *fields])))


def printable(text: str) -> str:
    """The text on one line, with escapes for what cannot be seen."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Arrow:
    """Something the server wrote to a client."""

    kind: str  # deliver, replay, error, lost
    who: str
    text: str


@dataclass(eq=False)
class Step:
    """Something a client did, and what came of it."""

    kind: str  # connect, subscribe, send, other, leave
    who: str
    text: str
    arrows: list[Arrow] = field(default_factory=list)
    kept: Messages = field(default_factory=dict)
    answer: str = ""  # if the server answers commands

    @property
    def label(self) -> str:
        return f"{self.text}  {self.answer}".rstrip()
