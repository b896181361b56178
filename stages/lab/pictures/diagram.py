"""The picture of what went over the wire: a lane for the server, and one for each client while it
is connected.

Shown as an SVG, with a twin in plain text. Both are made of names and the order of things only, no
times, ports or ids, so that the same traffic always gives the same bytes.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from stages.lab.pictures.columns import receivers
from stages.lab.pictures.drawing import NOTES, CacheRow, Drawing
from stages.lab.pictures.record import Messages, Step, message_text, printable, shortened
from stages.lab.pictures.svg import bundle

CHIPS = 4  # of a longer cache, only the last ones are shown
SIGNS = {"new": "+", "old": "-", "chip": ""}


class Diagram:
    """The steps from number `first` on; `print` it for the text twin."""

    def __init__(self, steps: list[Step], first: int = 0) -> None:
        before = kept_and_held(steps[first - 1]) if first else {}
        self.connected = connected_after(steps[:first])
        self.steps = list(steps[first:])
        self.changes = []
        for step in self.steps:
            after = kept_and_held(step)
            self.changes.append(list(cache_changes(before, after)))
            before = after
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
            if step.goes_to_server:
                yield f"{step.who:{width}} --> {'server':{width}}  {step.label}"
            else:
                yield f"{step.who:{width}} {step.text}"
            for arrow in step.arrows:
                head = "--x" if arrow.is_lost else "-->"
                note = {**NOTES, "replay": "replay"}.get(arrow.kind)
                yield (
                    f"{'server':{width}} {head} {arrow.who:{width}}  {arrow.label}"
                    + (f" ({note})" if note else "")
                )
            if step.fate:
                yield f"{'':{width}}     ({step.fate})"
            for topic, chips in changes:
                shown = [SIGNS[kind] + text for kind, text in chips]
                yield f"{'server':{width}} keeps {topic}: {', '.join(shown)}"

    def svg(self) -> str:
        drawing = Drawing(self.steps, self.changes, self.connected, self.senders, self.others)
        return drawing.svg(str(self))


def connected_after(steps: list[Step]) -> list[str]:
    connected: dict[str, None] = {}
    for step in steps:
        if step.kind == "connect":
            connected[step.who] = None
        elif step.kind == "leave":
            connected.pop(step.who, None)
    return list(connected)


def kept_and_held(step: Step) -> Messages:
    """What the server keeps, also of what workers have: as in "jobs with alice"."""
    held = {f"{topic} with {worker}": messages for (topic, worker), messages in step.held.items()}
    return step.kept | held


def cache_changes(before: Messages, after: Messages) -> Iterator[CacheRow]:
    """Each topic whose cache has changed, with its messages: kept (chip), new and dropped (old)."""
    for topic in dict.fromkeys([*before, *after]):
        old, cache = (list(map(message_text, each.get(topic, []))) for each in (before, after))
        if cache != old:
            gone = [("old", text) for text in surplus(old, cache)]
            fresh = Counter(surplus(cache, old))
            kept = []
            for text in reversed(cache):  # of equal ones, the last has come last
                kept.append(("new" if fresh[text] > 0 else "chip", text))
                fresh[text] -= 1
            kept.reverse()
            hidden = [("chip", f"… {len(kept) - CHIPS} more")] if len(kept) > CHIPS else []
            yield shortened(printable(topic)), [*gone[-CHIPS:], *hidden, *kept[-CHIPS:]]


def surplus(these: list[str], those: list[str]) -> list[str]:
    """What is in the first list more often than in the second, in its order."""
    return list((Counter(these) - Counter(those)).elements())
