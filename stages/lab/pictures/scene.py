"""What a film shows: senders, the server with whom it sends to and what it keeps, receivers with
what they have received; and messages on their way."""

from collections.abc import Callable
from html import escape

from stages.lab.pictures.animation import HIDDEN, Animation
from stages.lab.pictures.columns import receivers
from stages.lab.pictures.svg import width_of
from stages.lab.pictures.timeline import READ, TRAVEL, Beat, moves
from stages.lab.workbench.record import Step, message_text, msg_text, printable, shortened

WIDTH, MARGIN = 800, 24
CLIENT, SERVER = 168, 264  # widths
BOX, CHIP = 30, 24  # heights
SLOTS, CLIENTS, SHELVES = 5, 4, 4  # what is shown; more is folded into one line, or one box
REST = "all others"

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
        self.server_x = (WIDTH - SERVER) // 2 if senders else MARGIN
        bottoms = [
            self.place(senders, MARGIN),
            self.place([name for name in names if name in listening], WIDTH - MARGIN - CLIENT),
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
        shown = names if len(names) <= CLIENTS else names[: CLIENTS - 1]
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
        return x + CLIENT // 2, y + BOX // 2

    def way(self, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """From a client to the server."""
        x, y = self.middle(name)
        return (x, y), (self.server_x + SERVER // 2, min(y, self.bottom - 16))

    # What lists hold, and when

    def received(self) -> dict[str, History]:
        """What each client has received; what it already had is marked."""
        found: dict[str, History] = {}
        for beat in self.beats:
            for number, (leaves, arrows) in enumerate(beat.rounds):
                later = (
                    beat.rounds[number + 1][0] if number + 1 < len(beat.rounds) else beat.arrived
                )
                for arrow in arrows:
                    if arrow.has_come:
                        history = found.setdefault(arrow.who, [(0, [])])
                        arrives = max(leaves, later) if beat.start else 0
                        history.append((arrives, with_another(history[-1][1], arrow.text)))
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
        return self.over_time(
            lambda step: [("chip", message_text(message)) for message in step.kept.get(topic, [])]
        )

    # Drawing

    def draw_client(self, name: str) -> str:
        x, y = self.boxes[name]
        frames = [(0.0, HIDDEN)]
        for beat in self.beats:
            if self.box_of.get(beat.step.who) == name and beat.step.kind in ("connect", "leave"):
                here = beat.step.kind == "connect" or name == REST
                frames.append((beat.at_server, "here" if here else "left"))
        side = 1 if x > self.server_x else -1
        edge = x if side > 0 else x + CLIENT
        port = self.server_x + (SERVER if side > 0 else 0)
        middle, level = y + BOX // 2, min(y + BOX // 2, self.bottom - 16)
        return self.animation.shown(
            frames,
            f'<line class="wire" x1="{edge}" y1="{middle}" x2="{port}" y2="{level}"/>'
            f'<rect class="box" x="{x}" y="{y}" width="{CLIENT}" height="{BOX}" rx="6"/>'
            + headings(x + CLIENT // 2, y + 20, shortened(name, 13), "gone"),
        )

    def draw_server(self) -> str:
        restarts = [beat for beat in self.beats if beat.step.kind == "restart"]
        frames = [(0.0, "server")]
        for beat in restarts:
            frames += [(beat.start, "down"), (beat.at_server, "server")]
        return self.animation.shown(
            frames,
            f'<rect class="house" x="{self.server_x}" y="{MARGIN}" width="{SERVER}" '
            f'height="{self.bottom - MARGIN}" rx="8"/>'
            + headings(self.server_x + SERVER // 2, MARGIN + 20, f"server: {self.title}", "down"),
        )

    def draw_shelves(self, y: int) -> tuple[list[str], int]:
        """Draw whom the server sends to, and what it keeps; returns where that ends, too."""
        parts, x = [], self.server_x + 12
        lists: list[tuple[str, History, int]] = []
        for topic in dict.fromkeys(topic for step in self.steps for topic in step.subscribers):
            lists.append((f"sends {topic} to", self.subscribers(topic), 3))
        on_disk = any(step.on_disk for step in self.steps)
        for topic in dict.fromkeys(topic for step in self.steps for topic in step.kept):
            of, _, worker = topic.partition(" with ")
            whose = f"{worker} has" if worker else "keeps on disk" if on_disk else "keeps"
            lists.append((f"{whose}, of {of}", self.kept(topic), 1))
        lists = [each for each in lists if any(rows for _, rows in each[1])]
        for heading, history, across in lists[:SHELVES]:
            text = escape(printable(shortened(heading, 30)))
            parts.append(
                self.animation.shown(
                    [(at, "faint" if rows else HIDDEN) for at, rows in history],
                    f'<text x="{x}" y="{y + 14}">{text}</text>',
                )
            )
            parts.append(self.stack(x, y + 20, SERVER - 24, history, across))
            most = max(len(rows) for _, rows in history)
            y += 20 + min(SLOTS, -(-most // across)) * CHIP + 8
        if folded := len(lists) - SHELVES:
            if folded > 0:
                parts.append(
                    f'<text class="faint" x="{x}" y="{y + 14}">and {folded} lists more</text>'
                )
                y += 24
        return parts, y

    def draw_inbox(self, name: str) -> str:
        x, y = self.boxes[name]
        return self.stack(x, y + BOX + 8, CLIENT, self.history_of(name), 1)

    def stack(self, x: int, y: int, width: int, history: History, across: int) -> str:
        """Draw a list, `across` in a row, through all of its history."""
        wide = (width - 6 * (across - 1)) // across
        parts = []
        for (slot, row), frames in self.slots(history, across).items():
            left, top = x + slot % across * (wide + 6), y + slot // across * CHIP
            text = shortened(row[1], wide // 8 - 1)
            parts.append(
                self.animation.shown(
                    frames,
                    f'<rect class="chip" x="{left}" y="{top}" width="{wide}" height="20" rx="4"/>'
                    f'<text x="{left + 8}" y="{top + 15}">{escape(text)}</text>',
                )
            )
        return "".join(parts)

    def slots(
        self, history: History, across: int
    ) -> dict[tuple[int, Row], list[tuple[float, str]]]:
        """Of each row that is ever in a slot, when it is seen, and how: new at first."""
        found: dict[tuple[int, Row], list[tuple[float, str]]] = {}
        before: list[Row] = []
        for at, rows in history:
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
        if moves(beat.step):
            way = self.way(beat.step.who)
            parts.append(
                self.capsule(beat.step.kind, short(beat.step), way, beat.start, beat.at_server)
            )
        for number, (leaves, arrows) in enumerate(beat.rounds):
            later = beat.rounds[number + 1][0] if number + 1 < len(beat.rounds) else beat.arrived
            for arrow in arrows:
                start, end = self.way(arrow.who)[::-1]
                if arrow.kind in ("lost", "missed"):
                    end = (
                        start[0] + (end[0] - start[0]) * 2 // 3,
                        start[1] + (end[1] - start[1]) * 2 // 3,
                    )
                    parts.append(self.bang(arrow.kind, end, later))
                text = ("✗ " if arrow.kind == "error" else "") + arrow.text
                parts.append(self.capsule(arrow.kind, text, (start, end), leaves, later))
        if beat.step.fate.endswith("gone"):
            x, y = self.way(beat.step.who)[1]
            parts.append(self.bang("lost", (x, y), beat.at_server))
        return "".join(parts)

    def capsule(
        self,
        kind: str,
        text: str,
        way: tuple[tuple[int, int], tuple[int, int]],
        start: float,
        end: float,
    ) -> str:
        """A message on its way."""
        text = shortened(text, 26)
        wide = width_of(text) + 18
        body = (
            f'<rect x="{-wide // 2}" y="-12" width="{wide}" height="24" rx="12"/>'
            f'<text class="mid" y="5">{escape(text)}</text>'
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
        f'<text class="mid name" {place}>{escape(text)}</text>'
        f'<text class="mid away" {place}>{escape(text)} ({when_away})</text>'
    )


def with_another(rows: list[Row], text: str) -> list[Row]:
    """The rows with one more, which counts those that say the same."""
    same = sum(unmarked(row[1]) == text.removesuffix(" again") for row in rows)
    return [*rows, ("twice", f"{text} ×{same + 1}") if same else ("chip", text)]


def unmarked(text: str) -> str:
    return text.partition(" ×")[0].removesuffix(" again")


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
