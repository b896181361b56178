"""What a film shows: senders, the server with whom it sends to and what it keeps, receivers with
what they have received; and messages on their way."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from stages.lab.pictures.animation import HIDDEN, Animation
from stages.lab.pictures.columns import receivers
from stages.lab.pictures.svg import CHAR, fitted, width_of, words
from stages.lab.pictures.timeline import READ, TRAVEL, Beat
from stages.lab.workbench.record import Arrow, Step, message_text, msg_text, shortened

WIDTH, MARGIN = 800, 24
CLIENT_WIDTH, SERVER_WIDTH = 168, 264
BOX, CHIP = 30, 24  # heights
SLOTS, BOXES, SHELVES = 5, 4, 4  # what is shown; more is folded into one line, or one box
REST = ""  # the box of all others: no client has an empty name

Row = tuple[str, str]
"""Something in a list: its class and its text."""

History = list[tuple[float, list[Row]]]
"""What a list holds from when on."""


class Scene:
    """Lays the parts out, and draws each for the whole length of a film."""

    def __init__(self, beats: list[Beat], title: str, animation: Animation) -> None:
        self.beats, self.title, self.animation = beats, title, animation
        self.steps = [beat.step for beat in beats]
        self.box_of: dict[str, str] = {}
        self.inboxes = self.received()
        self.boxes: dict[str, tuple[int, int]] = {}
        listening = receivers(self.steps)
        names = dict.fromkeys(
            [step.who for step in self.steps if step.kind != "restart"]
            + [arrow.who for step in self.steps for arrow in step.arrows]
        )
        senders = [name for name in names if name not in listening]
        self.server_x = (WIDTH - SERVER_WIDTH) // 2 if senders else MARGIN
        bottoms = [
            self.place(senders, MARGIN),
            self.place(
                [name for name in names if name in listening], WIDTH - MARGIN - CLIENT_WIDTH
            ),
        ]
        shelves, self.bottom = self.draw_shelves(MARGIN + BOX + 6)
        lowest = max([y + BOX for _, y in self.boxes.values()], default=0)
        self.bottom = max(self.bottom, lowest, MARGIN + 84)
        self.height = max(self.bottom, *bottoms)
        self.parts = [
            *map(self.draw_client, self.boxes),
            self.draw_server(),
            *shelves,
            *map(self.draw_inbox, self.boxes),
            *[self.draw_traffic(beat) for beat in beats if beat.start],
        ]

    # Where things are

    def place(self, names: list[str], x: int) -> int:
        """Place clients one above the other; returns where the last one ends."""
        shown = names if len(names) <= BOXES else names[: BOXES - 1]
        y = MARGIN
        for name in names:
            self.box_of[name] = name if name in shown else REST
        for name in dict.fromkeys(self.box_of[each] for each in names):
            self.boxes[name] = (x, y)
            rows = max((len(rows) for _, rows in self.history_of(name)), default=0)
            y += BOX + 14 + min(SLOTS, rows) * CHIP + 18
        return y

    def middle(self, name: str) -> tuple[int, int]:
        x, y = self.boxes[self.box_of[name]]
        return x + CLIENT_WIDTH // 2, y + BOX // 2

    def way(self, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """From a client to the server."""
        x, y = self.middle(name)
        return (x, y), (self.server_x + SERVER_WIDTH // 2, min(y, self.bottom - 16))

    # What lists hold, and when

    def received(self) -> dict[str, History]:
        """What each client has received; what it already had is marked."""
        found: dict[str, History] = {}
        seen: Counter[tuple[str, Any, Any]] = Counter()
        for beat in self.beats:
            for each in beat.rounds:
                for arrow in filter(lambda arrow: arrow.has_come, each.arrows):
                    numbered = arrow.index is not None
                    mark = (
                        arrow.who,
                        str(arrow.topic),
                        str(arrow.index) if numbered else arrow.text,
                    )
                    # Two messages without an index may be alike; one that is replayed is not new.
                    twice = seen[mark] and (numbered or arrow.kind == "replay")
                    seen[mark] += 1
                    row = (
                        ("twice", f"{arrow.text} ×{seen[mark]}") if twice else ("chip", arrow.text)
                    )
                    history = found.setdefault(arrow.who, [(0, [])])
                    history.append((each.arrives, [*history[-1][1], row]))
        return found

    def history_of(self, box: str) -> History:
        if box != REST:
            return self.inboxes.get(box, [])
        arrivals = [
            (at, rows[-1])
            for name, history in self.inboxes.items()
            if self.box_of.get(name) == REST
            for at, rows in history[1:]
        ]
        history: History = [(0, [])]
        for at, row in sorted(arrivals, key=lambda arrival: arrival[0]):
            history.append((at, [*history[-1][1], row]))
        return history

    def over_time(self, rows: Callable[[Step], list[Row]]) -> History:
        return [(beat.at_server, rows(beat.step)) for beat in self.beats]

    def subscribers(self, topic: str) -> History:
        return self.over_time(
            lambda step: [
                ("ghost" if each.gone else "pill", shortened(each.name, 9))
                for each in step.subscribers.get(topic, [])
            ]
        )

    def kept(self, topic: str) -> History:
        return self.over_time(lambda step: chips(step.kept.get(topic, [])))

    def held(self, of: tuple[str, str]) -> History:
        return self.over_time(lambda step: chips(step.held.get(of, [])))

    # Drawing

    def draw_client(self, name: str) -> str:
        x, y = self.boxes[name]
        connects = any(beat.step.kind == "connect" and beat.step.who == name for beat in self.beats)
        frames = [(0.0, HIDDEN if connects else "here")]  # some are no lab's
        for beat in self.beats:
            if self.box_of.get(beat.step.who) == name and beat.step.kind in ("connect", "leave"):
                here = beat.step.kind == "connect" or name == REST
                frames.append((beat.at_server, "here" if here else "left"))
        side = 1 if x > self.server_x else -1
        edge = x if side > 0 else x + CLIENT_WIDTH
        port = self.server_x + (SERVER_WIDTH if side > 0 else 0)
        middle, level = y + BOX // 2, min(y + BOX // 2, self.bottom - 16)
        return self.animation.shown(
            frames,
            f'<line class="wire" x1="{edge}" y1="{middle}" x2="{port}" y2="{level}"/>'
            f'<rect class="box" x="{x}" y="{y}" width="{CLIENT_WIDTH}" height="{BOX}" rx="6"/>'
            + headings(
                x + CLIENT_WIDTH // 2,
                y + 20,
                fitted(name or "all others", CLIENT_WIDTH - 64),
                "gone",
            ),
        )

    def draw_server(self) -> str:
        restarts = [beat for beat in self.beats if beat.step.kind == "restart"]
        frames = [(0.0, "server")]
        for beat in restarts:
            frames += [(beat.start, "down"), (beat.at_server, "server")]
        return self.animation.shown(
            frames,
            f'<rect class="house" x="{self.server_x}" y="{MARGIN}" width="{SERVER_WIDTH}" '
            f'height="{self.bottom - MARGIN}" rx="8"/>'
            + headings(
                self.server_x + SERVER_WIDTH // 2,
                MARGIN + 20,
                fitted(f"server: {self.title}", 200),
                "down",
            ),
        )

    def draw_shelves(self, y: int) -> tuple[list[str], int]:
        """Draw whom the server sends to, and what it keeps; returns where that ends, too."""
        parts, x = [], self.server_x + 12
        lists: list[tuple[str, History, int]] = []
        for topic in dict.fromkeys(topic for step in self.steps for topic in step.subscribers):
            lists.append((f"sends {topic} to", self.subscribers(topic), 3))
        where = "keeps on disk" if any(step.on_disk for step in self.steps) else "keeps"
        for topic in dict.fromkeys(topic for step in self.steps for topic in step.kept):
            lists.append((f"{where}, of {topic}", self.kept(topic), 1))
        for of in dict.fromkeys(of for step in self.steps for of in step.held):
            lists.append((f"{of[1]} has, of {of[0]}", self.held(of), 1))
        lists = [each for each in lists if any(rows for _, rows in each[1])]
        for heading, history, across in lists[:SHELVES]:
            text = words(fitted(heading, SERVER_WIDTH - 24))
            parts.append(
                self.animation.shown(
                    [(at, "faint" if rows else HIDDEN) for at, rows in history],
                    f'<text x="{x}" y="{y + 14}">{text}</text>',
                )
            )
            parts.append(self.stack(x, y + 20, SERVER_WIDTH - 24, history, across))
            most = max(len(rows) for _, rows in history)
            y += 20 + min(SLOTS, -(-most // across)) * CHIP + 8
        if (hidden := len(lists) - SHELVES) > 0:
            parts.append(f'<text class="faint" x="{x}" y="{y + 14}">and {hidden} more</text>')
            y += 24
        return parts, y

    def draw_inbox(self, name: str) -> str:
        x, y = self.boxes[name]
        return self.stack(x, y + BOX + 8, CLIENT_WIDTH, self.history_of(name), 1)

    def stack(self, x: int, y: int, width: int, history: History, across: int) -> str:
        """Draw a list, `across` in a row, through all of its history."""
        wide = (width - 6 * (across - 1)) // across
        parts = []
        for (slot, row), frames in self.slots(history, across).items():
            left, top = x + slot % across * (wide + 6), y + slot // across * CHIP
            text = fitted(row[1], wide - 12)
            parts.append(
                self.animation.shown(
                    frames,
                    f'<rect class="chip" x="{left}" y="{top}" width="{wide}" height="20" rx="4"/>'
                    f'<text x="{left + 8}" y="{top + 15}">{words(text)}</text>',
                )
            )
        return "".join(parts)

    def slots(
        self, history: History, across: int
    ) -> dict[tuple[int, Row], list[tuple[float, str]]]:
        """Of each row that is ever in a slot, when it is seen, and how: new at first."""
        found: dict[tuple[int, Row], list[tuple[float, str]]] = {}
        before: list[Row] = []
        for at, rows in last_of_each_time(history):
            shown = dict(enumerate(folded(rows, SLOTS * across)))
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

    def draw_traffic(self, beat: Beat) -> str:
        parts = []
        if beat.step.goes_to_server:
            way = self.way(beat.step.who)
            parts.append(
                self.capsule(beat.step.kind, short(beat.step), way, beat.start, beat.at_server)
            )
        for each in beat.rounds:
            for box in dict.fromkeys(self.box_of[arrow.who] for arrow in each.arrows):
                arrows = [arrow for arrow in each.arrows if self.box_of[arrow.who] == box]
                parts.append(self.delivery(arrows, each.leaves, each.arrives))
        if beat.step.fate.endswith("gone"):
            x, y = self.way(beat.step.who)[1]
            parts.append(self.bang("lost", (x, y), beat.at_server))
        return "".join(parts)

    def delivery(self, arrows: list[Arrow], leaves: float, arrives: float) -> str:
        """What goes to one box at a time."""
        kind, parts = arrows[0].kind, []
        end, start = self.way(arrows[0].who)
        if arrows[0].is_lost:
            end = start[0] + (end[0] - start[0]) * 2 // 3, start[1] + (end[1] - start[1]) * 2 // 3
            parts.append(self.bang(kind, end, arrives))
        alike = len({arrow.label for arrow in arrows}) == 1
        text = arrows[0].label if alike else f"{len(arrows)} messages"
        return "".join([*parts, self.capsule(kind, text, (start, end), leaves, arrives)])

    def capsule(
        self,
        kind: str,
        text: str,
        way: tuple[tuple[int, int], tuple[int, int]],
        start: float,
        end: float,
    ) -> str:
        """A message on its way."""
        text = fitted(text, 26 * CHAR)
        wide = width_of(text) + 18
        body = (
            f'<rect x="{-wide // 2}" y="-12" width="{wide}" height="24" rx="12"/>'
            f'<text class="mid" y="5">{words(text)}</text>'
        )
        moving = self.animation.moving(way, start, end, body)
        return self.animation.shown([(start, f"go {kind}"), (end, HIDDEN)], moving)

    def bang(self, kind: str, at: tuple[int, int], when: float) -> str:
        cross = f'<path d="M{at[0] - 9} {at[1] - 9}l18 18m0 -18l-18 18"/>'
        return self.animation.shown([(when, f"bang {kind}"), (when + TRAVEL, HIDDEN)], cross)


def headings(x: int, y: int, text: str, when_away: str) -> str:
    """A name in the middle, and how it is called while it is not there."""
    place = f'x="{x}" y="{y}"'
    return (
        f'<text class="mid name" {place}>{words(text)}</text>'
        f'<text class="mid away" {place}>{words(text)} ({when_away})</text>'
    )


def chips(messages: list[dict[str, Any]]) -> list[Row]:
    return [("chip", message_text(message)) for message in messages]


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


def short(step: Step) -> str:
    """What fits on a capsule: its kind is its colour, its topic is in the caption."""
    if step.kind == "send":
        one = step.command.get("delivery") == "one"
        return msg_text(step.command.get("msg")) + (" →1" if one else "")
    if step.kind == "subscribe":
        seen = step.command.get("last_seen")
        return "subscribe" + (f" after #{seen}" if seen is not None else "")
    index = step.command.get("index")
    if step.command.get("command") == "ack":
        return f"done #{index}"
    return step.text
