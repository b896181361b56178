"""What a film shows: senders, the server with whom it sends to and what it keeps, receivers with
what they have received; and messages on their way."""

from stages.lab.pictures.animation import HIDDEN, Animation
from stages.lab.pictures.columns import receivers
from stages.lab.pictures.lists import History, known, received, slots, together
from stages.lab.pictures.record import Arrow, Step, msg_text
from stages.lab.pictures.svg import CHAR, fitted, width_of, words
from stages.lab.pictures.timeline import TRAVEL, Beat

WIDTH, MARGIN = 800, 24
CLIENT_WIDTH, SERVER_WIDTH = 168, 264
BOX, CHIP = 30, 24  # heights
SLOTS, BOXES, SHELVES = 5, 4, 4  # what is shown; more is folded into one line, or one box
RESTS = ("", " ")  # the boxes of all others, left and right: no client has a blank name


class Scene:
    """Lays the parts out, and draws each for the whole length of a film."""

    def __init__(self, beats: list[Beat], title: str, animation: Animation) -> None:
        self.beats, self.title, self.animation = beats, title, animation
        self.steps = [beat.step for beat in beats]
        self.box_of: dict[str, str] = {}
        self.inboxes = received(beats)
        self.boxes: dict[str, tuple[int, int]] = {}
        listening = receivers(self.steps)
        names = dict.fromkeys(
            [step.who for step in self.steps if step.kind != "restart"]
            + [arrow.who for step in self.steps for arrow in step.arrows]
        )
        senders = [name for name in names if name not in listening]
        self.server_x = (WIDTH - SERVER_WIDTH) // 2 if senders else MARGIN
        others = [name for name in names if name in listening]
        bottoms = [
            self.place(senders, MARGIN, RESTS[0]),
            self.place(others, WIDTH - MARGIN - CLIENT_WIDTH, RESTS[1]),
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

    def place(self, names: list[str], x: int, rest: str) -> int:
        """Place clients one above the other, those for which there is no room in one box; returns
        where the last one ends."""
        shown = names if len(names) <= BOXES else names[: BOXES - 1]
        y = MARGIN
        for name in names:
            self.box_of[name] = name if name in shown else rest
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

    def history_of(self, box: str) -> History:
        inside = [name for name in self.box_of if self.box_of[name] == box]
        return together(self.inboxes[name] for name in inside if name in self.inboxes)

    # Drawing

    def draw_client(self, name: str) -> str:
        x, y = self.boxes[name]
        connects = any(beat.step.kind == "connect" and beat.step.who == name for beat in self.beats)
        frames = [(0.0, HIDDEN if connects else "here")]  # some are no lab's
        for beat in self.beats:
            if self.box_of.get(beat.step.who) == name and beat.step.kind in ("connect", "leave"):
                here = beat.step.kind == "connect" or name in RESTS
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
                fitted("all others" if name in RESTS else name, CLIENT_WIDTH - 64),
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
        lists = known(self.beats)
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
        for (slot, row), frames in slots(history, SLOTS * across).items():
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
        if beat.step.fate and not beat.step.fate.kept:
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
