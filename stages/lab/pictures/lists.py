"""What lists hold in a film, and when: what clients have received, whom the server sends to, what it
keeps."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from stages.lab.pictures.animation import HIDDEN
from stages.lab.pictures.record import Step, message_text, shortened
from stages.lab.pictures.timeline import READ, Beat

Row = tuple[str, str]
"""Something in a list: its class and its text."""

History = list[tuple[float, list[Row]]]
"""What a list holds from when on."""


def received(beats: list[Beat]) -> dict[str, History]:
    """What each client has received; what it already had is marked."""
    found: dict[str, History] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    for each in (each for beat in beats for each in beat.rounds):
        for arrow in filter(lambda arrow: arrow.has_come, each.arrows):
            numbered = arrow.index is not None
            what = str(arrow.index) if numbered else arrow.text
            mark = (arrow.who, str(arrow.topic), what)
            # Two messages without an index may be alike; one that is replayed is not new.
            twice = seen[mark] and (numbered or arrow.kind == "replay")
            seen[mark] += 1
            row = ("twice", f"{arrow.text} ×{seen[mark]}") if twice else ("chip", arrow.text)
            history = found.setdefault(arrow.who, [(0, [])])
            history.append((each.arrives, [*history[-1][1], row]))
    return found


def together(histories: Iterable[History]) -> History:
    """What several clients have received, as one list."""
    arrivals = [(at, rows[-1]) for history in histories for at, rows in history[1:]]
    found: History = [(0, [])]
    for at, row in sorted(arrivals, key=lambda arrival: arrival[0]):
        found.append((at, [*found[-1][1], row]))
    return found


def known(beats: list[Beat]) -> list[tuple[str, History, int]]:
    """The server's lists that are not always empty: their headings, and how many fit in a row."""
    steps = [beat.step for beat in beats]

    def history(rows: Callable[[Step], list[Row]]) -> History:
        return [(beat.at_server, rows(beat.step)) for beat in beats]

    where = "keeps on disk" if any(step.on_disk for step in steps) else "keeps"
    lists = [
        (f"sends {topic} to", history(partial(subscribers, topic)), 3)
        for topic in dict.fromkeys(topic for step in steps for topic in step.subscribers)
    ]
    lists += [
        (f"{where}, of {topic}", history(partial(kept, topic)), 1)
        for topic in dict.fromkeys(topic for step in steps for topic in step.kept)
    ]
    lists += [
        (f"{of[1]} has, of {of[0]}", history(partial(held, of)), 1)
        for of in dict.fromkeys(of for step in steps for of in step.held)
    ]
    return [each for each in lists if any(rows for _, rows in each[1])]


def subscribers(topic: str, step: Step) -> list[Row]:
    return [
        ("ghost" if each.gone else "pill", shortened(each.name, 9))
        for each in step.subscribers.get(topic, [])
    ]


def kept(topic: str, step: Step) -> list[Row]:
    return [("chip", message_text(message)) for message in step.kept.get(topic, [])]


def held(of: tuple[str, str], step: Step) -> list[Row]:
    return [("chip", message_text(message)) for message in step.held.get(of, [])]


def slots(history: History, most: int) -> dict[tuple[int, Row], list[tuple[float, str]]]:
    """Of each row that is ever in one of so many slots, when it is seen, and how: new at first."""
    found: dict[tuple[int, Row], list[tuple[float, str]]] = {}
    before: list[Row] = []
    for at, rows in last_of_each_time(history):
        shown = dict(enumerate(folded(rows, most)))
        for (slot, row), frames in found.items():
            if shown.get(slot) != row and frames[-1][1] != HIDDEN:
                frames[:] = [frame for frame in frames if frame[0] < at]
                frames.append((at, HIDDEN))
        for slot, row in shown.items():
            frames = found.setdefault((slot, row), [])
            if not frames or frames[-1][1] == HIDDEN:
                fresh = at > 0 and row not in before and row[0] == "chip"
                frames += [(at, "new"), (at + READ, row[0])] if fresh else [(at, row[0])]
        before = rows
    return found


def last_of_each_time(history: History) -> History:
    return [
        (at, rows)
        for number, (at, rows) in enumerate(history)
        if number + 1 == len(history) or history[number + 1][0] != at
    ]


def folded(rows: list[Row], most: int) -> list[Row]:
    """The last rows, and in the first place how many more there are."""
    if len(rows) <= most:
        return rows
    return [("more", f"… {len(rows) - most + 1} before"), *rows[-most + 1 :]]
