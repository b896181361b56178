"""The diagram as an SVG, of our own making, since no kept library draws this offline."""

from collections.abc import Iterator

from stages.lab.pictures.columns import PAD, SERVER, WIDEST, Columns, box_width, place, title_of
from stages.lab.pictures.record import Arrow, Fate, Step
from stages.lab.pictures.svg import svg, width_of, words

Chip = tuple[str, str]
"""A message that the server keeps: kind (new, old, chip) and text."""

CacheRow = tuple[str, list[Chip]]
"""A topic, and the messages kept of it."""

ROW, FAN = 32, 7  # pixels: a row's height, and between the arrows of one message

STYLE = """
.mq .lane{stroke:var(--lane);stroke-width:2}.mq .line{stroke-width:2}
.mq .over{stroke:var(--card);stroke-width:4;paint-order:stroke}
.mq .subscribe{stroke:var(--subscribe);fill:var(--subscribe)}.mq .send{stroke:var(--send);fill:var(--send)}
.mq .other{stroke:var(--dim);fill:var(--dim)}.mq .deliver{stroke:var(--deliver);fill:var(--deliver)}
.mq .replay{stroke:var(--replay);fill:var(--replay)}.mq .missed{stroke:var(--kept);fill:var(--kept)}
.mq .error,.mq .lost{stroke:var(--bad);fill:var(--bad)}
.mq .replay .line,.mq .lost .line,.mq .missed .line{stroke-dasharray:6 4}
.mq .cross{fill:none;stroke-width:3}.mq .new .chip{fill:var(--new);stroke:var(--newrim)}
.mq .old text{fill:var(--dim);text-decoration:line-through}
.mq .gone text{fill:var(--bad)}.mq .kept text{fill:var(--kept)}
"""

NOTES = {"lost": "lost", "missed": "missed, but kept"}


def broadcasts(arrows: list[Arrow]) -> list[list[Arrow]]:
    """The arrows by rows: the same message to several clients shares one."""
    rows: list[list[Arrow]] = []
    for arrow in arrows:
        same = rows and (arrow.kind, arrow.text) == (rows[-1][0].kind, rows[-1][0].text)
        if same and arrow.who not in [other.who for other in rows[-1]]:
            rows[-1].append(arrow)
        else:
            rows.append([arrow])
    return rows


def label_of(arrow: Arrow) -> str:
    return ": ".join(filter(None, [arrow.label, NOTES.get(arrow.kind, "")]))


def wrapped(row: CacheRow) -> list[CacheRow]:
    """The messages of a topic on as many lines as they need."""
    topic, chips = row
    lines: list[CacheRow] = [(topic, [])]
    for chip in chips:
        if lines[-1][1] and row_width((topic, [*lines[-1][1], chip])) > WIDEST - 2 * PAD:
            lines.append(("", []))
        lines[-1][1].append(chip)
    return lines


def row_width(row: CacheRow) -> int:
    topic, chips = row
    return width_of(topic) + 8 + sum(width_of(text) + 20 for _, text in chips)


class Drawing:
    """Lays a diagram out, row by row, and writes the SVG."""

    def __init__(
        self,
        steps: list[Step],
        changes: list[list[CacheRow]],
        connected: list[str],
        senders: list[str],
        others: list[str],
    ) -> None:
        self.parts: list[str] = []
        rows = [[line for row in each for line in wrapped(row)] for each in changes]
        self.columns = columns_for(steps, [line for each in rows for line in each], senders, others)
        self.x = self.columns.x
        self.y = PAD
        self.lanes: dict[str, int] = {}  # of each that is there, where its lane starts
        first, *rest = list(groups(steps)) or [[]]
        if first and first[0].kind != "connect":
            first, rest = [], [first, *rest]
        self.begin_lanes([SERVER, *connected, *[step.who for step in first]])
        for group in rest:
            if group[0].kind == "connect":
                self.begin_lanes([step.who for step in group])
            else:
                self.draw_step(group[0], [step.who for step in group[1:]])
            for step in group:
                for row in rows[steps.index(step)]:
                    self.draw_kept(*row)
            if group[0].kind == "restart":
                self.begin_lanes([SERVER])

    def draw_step(self, step: Step, cut_off: list[str]) -> None:
        """Draw a step; `cut_off` are those that lose their connection at a restart."""
        if step.kind == "restart":
            self.draw_ends([SERVER, *cut_off], step.text)
        elif step.kind == "leave":
            self.draw_ends([step.who], step.text)
        else:
            self.draw_command(step)
        for arrows in broadcasts(step.arrows):
            self.draw_arrows(arrows)
        if step.fate:
            self.draw_fate(step.fate)

    def draw_command(self, step: Step) -> None:
        start, end = self.x[step.who], self.x[SERVER]
        self.y += ROW
        line = arrow_line(start, end, self.y - 8)
        self.put(step.kind, line, self.label(step.label, start, end, near=start))

    def draw_arrows(self, arrows: list[Arrow]) -> None:
        """Draw a message to all that it goes to: an arrow each, from the server."""
        start = self.x[SERVER]
        by_distance = sorted(arrows, key=lambda arrow: -abs(self.x[arrow.who] - start))
        self.y += ROW
        ends = [self.x[arrow.who] for arrow in by_distance]
        lost = arrows[0].is_lost
        lines = [
            arrow_line(start, end, self.y - 8 + FAN * number, lost=lost)
            for number, end in enumerate(ends)
        ]
        label = self.label(label_of(arrows[0]), start, ends[-1], near=ends[-1])
        self.put(arrows[0].kind, *lines, label)
        self.y += FAN * (len(ends) - 1)

    def draw_ends(self, names: list[str], text: str) -> None:
        self.y += ROW
        y = self.y - ROW // 2
        for name in names:
            if name in self.lanes:
                self.end_lane(name, y)
        crosses = [cross(self.x[name], y) for name in names]
        self.put("other", *crosses, self.beside(text, self.x[names[0]], y + 5))

    def draw_fate(self, fate: Fate) -> None:
        self.y += ROW - 8
        text = f"{'○' if fate.kept else '✗'} {fate}"
        self.put("kept" if fate.kept else "gone", self.beside(text, self.x[SERVER], self.y - 6))

    def draw_kept(self, topic: str, chips: list[Chip]) -> None:
        """Draw what is kept of a topic, across the server's lane."""
        width = row_width((topic, chips))
        x = self.clamped(self.x[SERVER] - width // 2, width)
        y = self.y + 4
        self.put("", f'<text class="over" x="{x}" y="{y + 16}">{words(topic)}</text>')
        x += width_of(topic) + 8
        for kind, text in chips:
            wide = width_of(text) + 14
            box = f'<rect class="chip" x="{x}" y="{y}" width="{wide}" height="22" rx="4"/>'
            self.put(kind, box, f'<text x="{x + 7}" y="{y + 16}">{words(text)}</text>')
            x += wide + 6
        self.y += ROW - 2

    def begin_lanes(self, names: list[str]) -> None:
        for name in names:
            x, y, width = self.x[name], self.y + ROW // 2, box_width(name)
            self.lanes[name] = y
            box = f'<rect class="box" x="{x - width // 2}" y="{y - 13}" width="{width}" height="26" rx="5"/>'
            text = f'<text class="mid" x="{x}" y="{y + 5}">{words(title_of(name))}</text>'
            self.put("", box, text)
        self.y += ROW

    def end_lane(self, name: str, y: int) -> None:
        x, top = self.x[name], self.lanes.pop(name)
        self.parts.insert(0, f'<line class="lane" x1="{x}" y1="{top}" x2="{x}" y2="{y}"/>')

    def label(self, text: str, start: int, end: int, near: int) -> str:
        """A text above an arrow: in its middle, or reaching over other lanes."""
        width, y = width_of(text), self.y - 14
        x = (start + end - width) // 2
        if width > abs(end - start) - 16:
            x = near + 8 if near < (start + end) // 2 else near - 8 - width
        x = self.clamped(x, width)
        return f'<text class="over" x="{x}" y="{y}">{words(text)}</text>'

    def beside(self, text: str, x: int, y: int) -> str:
        """A text at the right of a lane, or where there is no room, at its left."""
        width = width_of(text)
        if x + 14 + width > self.columns.width - PAD:
            x = self.clamped(x - 28 - width, width)
        x += 14
        return f'<text class="over" x="{x}" y="{y}">{words(text)}</text>'

    def clamped(self, x: int, width: int) -> int:
        return max(PAD, min(x, self.columns.width - PAD - width))

    def put(self, kind: str, *parts: str) -> None:
        self.parts.append(f'<g class="{kind}">{"".join(parts)}</g>' if kind else "".join(parts))

    def svg(self, told: str) -> str:
        height = self.y + PAD
        for name in list(self.lanes):
            self.end_lane(name, height - 8)
        return svg(self.columns.width, height, STYLE, self.parts, told)


def groups(steps: list[Step]) -> Iterator[list[Step]]:
    """The steps by rows: connections that follow each other share one, and so do a restart and
    those that it cuts off."""
    group: list[Step] = []
    for step in steps:
        cut_off = step.kind == "leave" and group and group[0].kind == "restart"
        together = step.kind == "connect" and group and group[0].kind == "connect"
        if group and not (cut_off or together):
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def columns_for(
    steps: list[Step], rows: list[CacheRow], senders: list[str], others: list[str]
) -> Columns:
    labels = dict.fromkeys([*senders, *others], 0)
    for step in steps:
        if step.goes_to_server:
            labels[step.who] = max(labels[step.who], width_of(step.label))
        for arrow in step.arrows:
            labels[arrow.who] = max(labels[arrow.who], width_of(label_of(arrow)))
    return place(senders, others, labels, max([*labels.values(), *map(row_width, rows)], default=0))


def arrow_line(start: int, end: int, y: int, *, lost: bool = False) -> str:
    """An arrow between two lanes, with a cross for its head if it does not arrive."""
    way = 1 if end > start else -1
    tip = end - 3 * way
    head = cross(tip - 6 * way, y) if lost else f'<path d="M{tip} {y}l{-9 * way} -5v10z"/>'
    line = f'x1="{start + 3 * way}" y1="{y}" x2="{tip - 5 * way}" y2="{y}"'
    return f'<line class="line" {line}/>{head}'


def cross(x: int, y: int) -> str:
    return f'<path class="cross" d="M{x - 6} {y - 6}l12 12m0 -12l-12 12"/>'
