"""The record as a moving picture: an SVG that needs no script, and plays wherever an image does.

Made of the record alone, like the diagram: the same traffic gives the same bytes. Whoever has asked
the system for less motion, or prints it, sees what happened as a list.
"""

from bisect import bisect_left
from typing import Any

from stages.lab.pictures.animation import HIDDEN, Animation
from stages.lab.pictures.record import Step
from stages.lab.pictures.scene import MARGIN, WIDTH, Scene
from stages.lab.pictures.svg import covered, fitted, image, svg, width_of, words
from stages.lab.pictures.timeline import Beat, beats_of

LIMIT = 30_000
"""Bytes of a film. Of a longer story, what came before is there when the film begins."""

ROOM = WIDTH - 2 * MARGIN  # pixels of a caption
AFTER = 1.6  # seconds

STYLE = """
.mq .no,.mq .away,.mq .left .name,.mq .down .name{visibility:hidden}
.mq .left .away,.mq .down .away{visibility:visible}
.mq .house{fill:var(--box);fill-opacity:.4;stroke:var(--rim)}.mq .down .house{stroke:var(--bad);stroke-dasharray:6 4}
.mq .wire{stroke:var(--rim);stroke-width:2}.mq .left .wire{stroke-dasharray:3 6}
.mq .left .box{fill:none;stroke-dasharray:4 4}.mq .faint text,.mq .left text,.mq .more text{fill:var(--dim)}
.mq .new .chip{fill:var(--new);stroke:var(--newrim)}.mq .more .chip{stroke:none}
.mq .pill .chip{rx:10px;stroke:var(--subscribe)}.mq .ghost .chip{rx:10px;stroke:var(--bad);stroke-dasharray:3 3}
.mq .twice .chip{stroke:var(--bad)}.mq .twice text,.mq .ghost text{fill:var(--bad)}
.mq .go text{fill:#fff}.mq .go rect{fill:#57606a}.mq .go.subscribe rect{fill:#0969da}
.mq .go.send rect{fill:#1a7f37}.mq .go.deliver rect{fill:#953800}.mq .go.replay rect{fill:#6639ba}
.mq .go.error rect,.mq .go.lost rect{fill:#b3141f}.mq .go.missed rect{fill:#7d4e00}
.mq .bang{fill:none;stroke:var(--bad);stroke-width:4}.mq .bang.missed{stroke:var(--kept)}
.mq .said text{font-weight:600}.mq .dot{fill:var(--edge)}.mq .done .dot{fill:var(--subscribe)}
.mq .still{display:none}
@media print,(prefers-reduced-motion:reduce){.mq .film{display:none}.mq .still{display:inline}}
"""


class Film:
    """The steps from number `first` on, on a server with a title; `print` it for its text.

    It plays again and again, or once, if `loop` is false.
    """

    def __init__(self, steps: list[Step], title: str, first: int = 0, *, loop: bool = True) -> None:
        self.steps, self.title, self.loop = list(steps), title, loop
        later = range(first, max(first, len(self.steps) - 1))
        self.draw(first + bisect_left(later, True, key=lambda each: self.draw(each) <= LIMIT))

    def draw(self, first: int) -> int:
        """Draw the steps from number `first` on; returns how many bytes that takes."""
        self.first = first
        beats = beats_of(self.steps, self.first)
        self.beats = beats[self.first :]
        self.length = (beats[-1].end if self.beats else 0) + AFTER
        animation = Animation(self.length, loop=self.loop)
        scene = Scene(beats, self.title, animation)
        lines = self.lines()
        self.height = height = max(scene.height + 94, 18 * len(lines) + 2 * MARGIN)
        film = [*scene.parts, *self.captions(height - 64, animation)]
        self.picture = svg(
            WIDTH,
            height,
            STYLE,
            ['<g class="film">', *film, '</g><g class="still">', *self.still(lines), "</g>"],
            str(self),
        )
        return len(self.picture.encode())

    def captions(self, y: int, animation: Animation) -> list[str]:
        """What is happening, what came of it, and how far the film is."""
        parts = []
        wide = (WIDTH - 2 * MARGIN) // max(1, len(self.beats))
        for number, beat in enumerate(self.beats):
            outcome = beat.outcome and f"→ {beat.outcome}"
            for top, text, since in ((y, beat.said, beat.start), (y + 20, outcome, beat.arrived)):
                if text:
                    caption = f'<text x="{MARGIN}" y="{top}">{words(fitted(text, ROOM))}</text>'
                    end = beat.end if beat is not self.beats[-1] else self.length
                    parts.append(animation.shown([(since, "said"), (end, HIDDEN)], caption))
            dot = f'x="{MARGIN + wide * number}" y="{y + 36}" width="{wide - 4}" height="5" rx="2"'
            parts.append(
                animation.shown([(0, "todo"), (beat.start, "done")], f'<rect class="dot" {dot}/>')
            )
        return parts

    def lines(self) -> list[str]:
        before = [f"(after {self.first} steps)"] if self.first else []
        return [*before, *[line for beat in self.beats for line in told(beat)]]

    def still(self, lines: list[str]) -> list[str]:
        return [
            f'<text x="{MARGIN}" y="{MARGIN + 18 * number + 12}">{words(fitted(line, ROOM))}</text>'
            for number, line in enumerate(lines)
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def svg(self) -> str:
        return self.picture

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": covered(image(self.svg(), str(self))), "text/plain": str(self)}


def told(beat: Beat) -> list[str]:
    """A step in words, on one line if there is room."""
    line = " → ".join(filter(None, [beat.said, beat.outcome]))
    return [line] if width_of(line) <= ROOM else [beat.said, f"    → {beat.outcome}"]
