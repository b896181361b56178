"""The picture of what went over the wire: a lane for the server, and one for each client while it
is connected.

Shown as an SVG, with a twin in plain text. Both are made of names and the order of things only, no
times, ports or ids, so that the same traffic always gives the same bytes.
"""

from collections.abc import Iterator
from typing import Any

from stages.lab.pictures.columns import receivers
from stages.lab.pictures.drawing import NOTES, CacheRow, Drawing
from stages.lab.pictures.svg import bundle
from stages.lab.workbench.record import Messages, Step, message_text, printable, shortened

CHIPS = 4  # of a longer cache, only the last ones are shown
SIGNS = {"new": "+", "old": "-", "chip": ""}


class Diagram:
    """The steps from number `first` on; `print` it for the text twin."""

    def __init__(self, steps: list[Step], first: int = 0) -> None:
        before = steps[first - 1].kept if first else {}
        self.connected = connected_after(steps[:first])
        self.steps = list(steps[first:])
        self.changes = [
            list(cache_changes(old, step.kept))
            for old, step in zip(
                [before, *[step.kept for step in self.steps]], self.steps, strict=False
            )
        ]
        arrivals = [step.who for step in self.steps if step.kind == "connect"]
        addressed = [arrow.who for step in self.steps for arrow in step.arrows]
        self.names = list(dict.fromkeys([*self.connected, *arrivals, *addressed]))
        listening = receivers(steps)
        self.senders = [name for name in self.names if name not in listening]
        self.others = [name for name in self.names if name in listening]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.svg(), str(self))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        width = max(map(len, ["server", *self.names]))
        for step, changes in zip(self.steps, self.changes, strict=True):
            if step.kind in ("connect", "leave", "restart"):
                yield f"{step.who:{width}} {step.text}"
            else:
                yield f"{step.who:{width}} --> {'server':{width}}  {step.label}"
            for arrow in step.arrows:
                head = "--x" if arrow.kind in NOTES else "-->"
                note = {**NOTES, "replay": "replay"}.get(arrow.kind)
                sign = "✗ " if arrow.kind == "error" else ""
                yield (
                    f"{'server':{width}} {head} {arrow.who:{width}}  {sign}{arrow.text}"
                    + (f" ({note})" if note else "")
                )
            if step.fate:
                yield f"{'':{width}}     ({step.fate})"
            for topic, chips in changes:
                shown = [SIGNS[kind] + text for kind, text in chips]
                yield f"{'server':{width}} keeps {topic}: {', '.join(shown)}"

    def svg(self) -> str:
        return Drawing(self.steps, self.changes, self.connected, self.senders, self.others).svg()


def connected_after(steps: list[Step]) -> list[str]:
    connected: dict[str, None] = {}
    for step in steps:
        if step.kind == "connect":
            connected[step.who] = None
        elif step.kind == "leave":
            connected.pop(step.who, None)
    return list(connected)


def cache_changes(before: Messages, after: Messages) -> Iterator[CacheRow]:
    """Each topic whose cache has changed, with its messages: kept (chip), new and dropped (old)."""
    for topic in dict.fromkeys([*before, *after]):
        old, cache = before.get(topic, []), after.get(topic, [])
        if cache != old:
            gone = [("old", message_text(message)) for message in old if message not in cache]
            kept = [
                ("chip" if message in old else "new", message_text(message)) for message in cache
            ]
            hidden = [("chip", f"… {len(kept) - CHIPS} more")] if len(kept) > CHIPS else []
            yield shortened(printable(topic)), [*gone[-CHIPS:], *hidden, *kept[-CHIPS:]]
