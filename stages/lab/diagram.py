"""The picture of what went over the wire: a lane for the server, and one for each client while it is connected.

An SVG of our own making, since no kept library draws this offline; with a twin in plain text. Both are made of
names and logical rows only, no times, ports or ids, so that the same traffic always gives the same bytes.
"""

import ast
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Any

Caches = dict[str, list[dict[str, Any]]]

LONGEST_TEXT = 36
CHIPS = 4  # of a longer cache, only the last ones are drawn
CHAR, ROW, PAD = 8, 32, 16  # pixels: a character's width, a row's height, the margin

STYLE = """
.mq{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.mq .card{fill:#fff;stroke:#d0d7de}.mq text{fill:#1f2328;stroke:none}.mq .mid{text-anchor:middle}
.mq .lane{stroke:#c3cad2;stroke-width:2}.mq .box{fill:#eaeef2;stroke:#8c959f}
.mq .subscribe{stroke:#0969da;fill:#0969da}.mq .send{stroke:#1a7f37;fill:#1a7f37}
.mq .other{stroke:#6e7781;fill:#6e7781}.mq .deliver{stroke:#bc4c00;fill:#bc4c00}
.mq .replay{stroke:#8250df;fill:#8250df}.mq .error,.mq .lost{stroke:#cf222e;fill:#cf222e}
.mq line{stroke-width:2}.mq .replay line,.mq .lost line{stroke-dasharray:6 4}
.mq .chip{fill:#f6f8fa;stroke:#c3cad2}.mq .new{fill:#fff1b8;stroke:#d4a72c}
.mq .old text{fill:#8c959f;text-decoration:line-through}
""".replace("\n", "")


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def message_text(message: dict[str, Any]) -> str:
    """A message as the diagram shows it: its text, and its index if it has one."""
    text = shortened(repr(message.get("msg", message)))
    return f"#{message['index']} {text}" if "index" in message else text


def command_text(line: str) -> tuple[str, str]:
    """The kind of a command, and how the diagram shows it; of anything else, just the text."""
    try:
        command = dict(ast.literal_eval(line))
        kind, topic = command.pop("command"), command.pop("topic")
    except (SyntaxError, ValueError, TypeError, KeyError, MemoryError, RecursionError):
        return "other", shortened(repr(line)[1:-1])
    msg = [repr(command.pop("msg"))] if "msg" in command else []
    fields = [f"{name}={value}" for name, value in command.items()]
    known = kind if kind in ("subscribe", "send") else "other"
    return known, shortened(ascii_safe(" ".join([str(kind), str(topic), *msg, *fields])))


def ascii_safe(text: str) -> str:
    """The text without anything that would disturb a line of text."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Arrow:
    """Something the server wrote to a client."""

    kind: str  # deliver, replay, error, lost
    who: str
    text: str


@dataclass
class Step:
    """Something a client did, and what came of it."""

    kind: str  # connect, subscribe, send, other, leave
    who: str
    text: str
    arrows: list[Arrow] = field(default_factory=list)
    caches: Caches = field(default_factory=dict)


class Diagram:
    """The steps from number `first` on; `print` it for the text twin."""

    def __init__(self, steps: list[Step], first: int = 0) -> None:
        before = steps[first - 1].caches if first else {}
        self.connected = connected_after(steps[:first])
        self.steps = list(steps[first:])
        self.changes = [
            list(cache_changes(old, step.caches))
            for old, step in zip([before, *[step.caches for step in self.steps]], self.steps, strict=False)
        ]
        arrivals = [step.who for step in self.steps if step.kind == "connect"]
        addressed = [arrow.who for step in self.steps for arrow in step.arrows]
        self.names = list(dict.fromkeys([*self.connected, *arrivals, *addressed]))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": str(self)}

    def __str__(self) -> str:
        width = max(map(len, ["server", *self.names]))
        lines = []
        for step, changes in zip(self.steps, self.changes, strict=True):
            if step.kind in ("connect", "leave"):
                lines.append(f"{step.who:{width}} {step.text}")
            else:
                lines.append(f"{step.who:{width}} --> {'server':{width}}  {step.text}")
            for arrow in step.arrows:
                head, note = ("--x", " (lost)") if arrow.kind == "lost" else ("-->", "")
                note = " (replay)" if arrow.kind == "replay" else note
                lines.append(f"{'server':{width}} {head} {arrow.who:{width}}  {arrow.text}{note}")
            for topic, chips in changes:
                shown = [{"new": "+", "old": "-", "chip": ""}[kind] + text for kind, text in chips]
                lines.append(f"{'':{width}}     cache {topic}: {', '.join(shown)}")
        return "\n".join(lines)

    def svg(self) -> str:
        return Drawing(self).svg()


def connected_after(steps: list[Step]) -> list[str]:
    connected: dict[str, None] = {}
    for step in steps:
        if step.kind == "connect":
            connected[step.who] = None
        elif step.kind == "leave":
            connected.pop(step.who, None)
    return list(connected)


def cache_changes(before: Caches, after: Caches) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each topic whose cache has changed, with its messages: kept (chip), new and dropped (old)."""
    for topic, cache in after.items():
        old = before.get(topic, [])
        if cache != old:
            gone = [("old", message_text(message)) for message in old if message not in cache]
            kept = [("chip" if message in old else "new", message_text(message)) for message in cache]
            hidden = [("chip", f"… {len(kept) - CHIPS} more")] if len(kept) > CHIPS else []
            yield shortened(ascii_safe(topic)), [*gone[-CHIPS:], *hidden, *kept[-CHIPS:]]


def width_of(text: str) -> int:
    """Pixels that a text takes, in a monospaced font."""
    return CHAR * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class Drawing:
    """Lays a diagram out, row by row, and writes the SVG."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.parts: list[str] = []
        self.place_columns()
        self.y = PAD + ROW
        self.lanes = dict.fromkeys(diagram.connected, self.y - ROW // 2)  # connected: where the lane starts
        for name in diagram.connected:
            self.name_box(self.x[name], self.y - ROW // 2, name)
        self.name_box(self.server, self.y - ROW // 2, "server")
        for kind, group in groupby(zip(diagram.steps, diagram.changes, strict=True), lambda pair: pair[0].kind):
            pairs = list(group)
            if kind == "connect":
                self.draw_connects([step.who for step, _ in pairs])
            else:
                for step, changes in pairs:
                    self.draw_step(step, changes)

    def place_columns(self) -> None:
        """Make each column as wide as its widest text: the caches, the server's lane, a lane for each client."""
        steps, names = self.diagram.steps, self.diagram.names
        texts = {name: [name + "  "] for name in names}
        for step in steps:
            texts.setdefault(step.who, []).append(step.text)
            for arrow in step.arrows:
                texts[arrow.who].append(arrow.text + "  lost")
        rows = [row for changes in self.diagram.changes for row in changes]
        cache = max(
            (sum(width_of(text) + 20 for _, text in chips) + width_of(topic) + 24 for topic, chips in rows), default=0
        )
        self.server = PAD + cache + 48
        self.x: dict[str, int] = {}
        x = self.server
        for name in names:
            x += max(112, 56 + max(map(width_of, texts[name])))
            self.x[name] = x
        self.width = x + PAD + max([48, *[width_of(name) // 2 + 16 for name in names[-1:]]])

    def draw_connects(self, names: list[str]) -> None:
        for name in names:
            self.lanes[name] = self.y + ROW // 2
            self.name_box(self.x[name], self.y + ROW // 2, name)
        self.y += ROW + 8

    def draw_step(self, step: Step, changes: list[tuple[str, list[tuple[str, str]]]]) -> None:
        top = self.y
        if step.kind == "leave":
            self.draw_leave(step)
        else:
            self.draw_arrow(step.kind, step.who, step.text, inward=True)
            self.y += ROW
        for _, group in groupby(step.arrows, lambda arrow: (arrow.kind, arrow.text)):
            arrows = list(group)
            for arrow in sorted(arrows, key=lambda arrow: -self.x[arrow.who]):  # nearer heads on top of longer lines
                self.draw_arrow(arrow.kind, arrow.who, arrow.text, inward=False)
            self.y += ROW
        for number, (topic, chips) in enumerate(changes):
            self.draw_cache(top + number * ROW, topic, chips)
        self.y = max(self.y, top + len(changes) * ROW)

    def draw_arrow(self, kind: str, who: str, text: str, *, inward: bool) -> None:
        y, client = self.y + ROW - 8, self.x[who]
        start, end, back = (client - 2, self.server + 3, 9) if inward else (self.server + 3, client - 3, -9)
        if kind == "lost":
            head = f'<path d="M{end - 6} {y - 6}l12 12m0 -12l-12 12" fill="none" stroke-width="3"/>'
            text += "  lost"
        else:
            head = f'<path d="M{end} {y}l{back} -5v10z"/>'
        middle = client - (width_of(text) + 40) // 2
        self.parts.append(
            f'<g class="{kind}"><line x1="{start}" y1="{y}" x2="{end + back // 2}" y2="{y}"/>{head}'
            f'<text class="mid" x="{middle}" y="{y - 6}">{escape(text)}</text></g>'
        )

    def draw_leave(self, step: Step) -> None:
        x, y = self.x[step.who], self.y + ROW // 2
        self.end_lane(step.who, y)
        cross = f'<path d="M{x - 6} {y - 6}l12 12m0 -12l-12 12" fill="none" stroke-width="3"/>'
        label = f'<text class="mid" x="{x - (width_of(step.text) + 40) // 2}" y="{y + 5}">{escape(step.text)}</text>'
        self.parts.append(f'<g class="other">{cross}{label}</g>')
        self.y += ROW

    def draw_cache(self, y: int, topic: str, chips: list[tuple[str, str]]) -> None:
        x = self.server - 32
        for kind, text in reversed(chips):
            width = width_of(text) + 14
            x -= width + 6
            fill = "new" if kind == "new" else "chip"
            box = f'<rect class="{fill}" x="{x}" y="{y + 4}" width="{width}" height="22" rx="4"/>'
            self.parts.append(f'<g class="{kind}">{box}<text x="{x + 7}" y="{y + 20}">{escape(text)}</text></g>')
        self.parts.append(f'<text x="{x - width_of(topic) - 8}" y="{y + 20}">{escape(topic)}</text>')

    def name_box(self, x: int, y: int, name: str) -> None:
        width = width_of(name) + 20
        box = f'<rect class="box" x="{x - width // 2}" y="{y - 13}" width="{width}" height="26" rx="5"/>'
        self.parts.append(f'<g>{box}<text class="mid" x="{x}" y="{y + 5}">{escape(name)}</text></g>')

    def end_lane(self, name: str, y: int) -> None:
        if name in self.lanes:
            self.parts.insert(0, self.lane(self.x[name], self.lanes.pop(name), y))

    def lane(self, x: int, top: int, bottom: int) -> str:
        return f'<line class="lane" x1="{x}" y1="{top}" x2="{x}" y2="{bottom}"/>'

    def svg(self) -> str:
        height = self.y + PAD
        for name in list(self.lanes):
            self.end_lane(name, height - 8)
        self.parts.insert(0, self.lane(self.server, PAD + ROW // 2, height - 8))
        size = f'width="{self.width}" height="{height}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="mq" {size} viewBox="0 0 {self.width} {height}">'
            f'<style>{STYLE}</style><rect class="card" x="0" y="0" {size} rx="8"/>{"".join(self.parts)}</svg>'
        )
