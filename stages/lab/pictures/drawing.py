"""The diagram as an SVG, of our own making, since no kept library draws this offline."""

import unicodedata
from html import escape
from itertools import groupby

from stages.lab.workbench.record import Arrow, Step

CacheRow = tuple[str, list[tuple[str, str]]]
"""A topic, and the messages in its cache: kind (new, old, chip) and text of each."""

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


def width_of(text: str) -> int:
    """Pixels that a text takes, in a monospaced font."""
    return CHAR * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


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


class Drawing:
    """Lays a diagram out, row by row, and writes the SVG."""

    def __init__(
        self,
        steps: list[Step],
        changes: list[list[CacheRow]],
        connected: list[str],
        names: list[str],
    ) -> None:
        self.parts: list[str] = []
        self.x: dict[str, int] = {}
        self.place_columns(steps, [row for rows in changes for row in rows], names)
        self.y = PAD + ROW
        self.lanes = dict.fromkeys(
            connected, PAD + ROW // 2
        )  # of each connected client, where its lane starts
        for name in connected:
            self.name_box(self.x[name], PAD + ROW // 2, name)
        self.name_box(self.server, PAD + ROW // 2, "server")
        for kind, group in groupby(zip(steps, changes, strict=True), lambda pair: pair[0].kind):
            pairs = list(group)
            if kind == "connect":
                self.draw_connects([step.who for step, _ in pairs])
            else:
                for step, rows in pairs:
                    self.draw_step(step, rows)

    def place_columns(self, steps: list[Step], rows: list[CacheRow], names: list[str]) -> None:
        """Make each column as wide as its widest text: the caches, the server's lane, a lane for
        each client."""
        texts = {name: [name + "  "] for name in names}
        for step in steps:
            texts.setdefault(step.who, []).append(step.label)
            for arrow in step.arrows:
                texts[arrow.who].append(arrow.text + "  lost")
        caches = [
            width_of(topic) + 24 + sum(width_of(text) + 20 for _, text in chips)
            for topic, chips in rows
        ]
        self.server = PAD + max(caches, default=0) + 48
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

    def draw_step(self, step: Step, rows: list[CacheRow]) -> None:
        top = self.y
        if step.kind == "leave":
            self.draw_leave(step)
        else:
            self.draw_arrow(step.kind, step.who, step.label, inward=True)
            self.y += ROW
        for arrows in broadcasts(step.arrows):
            for arrow in sorted(
                arrows, key=lambda arrow: -self.x[arrow.who]
            ):  # nearer heads on top of longer lines
                self.draw_arrow(arrow.kind, arrow.who, arrow.text, inward=False)
            self.y += ROW
        for number, (topic, chips) in enumerate(rows):
            self.draw_cache(top + number * ROW, topic, chips)
        self.y = max(self.y, top + len(rows) * ROW)

    def draw_arrow(self, kind: str, who: str, text: str, *, inward: bool) -> None:
        y, client = self.y + ROW - 8, self.x[who]
        start, end, back = (
            (client - 2, self.server + 3, 9) if inward else (self.server + 3, client - 3, -9)
        )
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
            self.parts.append(
                f'<g class="{kind}">{box}<text x="{x + 7}" y="{y + 20}">{escape(text)}</text></g>'
            )
        self.parts.append(
            f'<text x="{x - width_of(topic) - 8}" y="{y + 20}">{escape(topic)}</text>'
        )

    def name_box(self, x: int, y: int, name: str) -> None:
        width = width_of(name) + 20
        box = f'<rect class="box" x="{x - width // 2}" y="{y - 13}" width="{width}" height="26" rx="5"/>'
        self.parts.append(
            f'<g>{box}<text class="mid" x="{x}" y="{y + 5}">{escape(name)}</text></g>'
        )

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
