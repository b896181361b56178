"""Backpressure, seen: the buffers between a sender's program and a reader that is stuck, filling one
after the other, until the sender has to wait.

The figures are from `buffers.py`.

Source: TCP's flow control (RFC 9293, 3.8.6).
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from stages.lab.pictures.animation import Animation
from stages.lab.pictures.film import STYLE as FILM
from stages.lab.pictures.svg import bundle, svg, words

PLACES = {
    "sender's program": "send() has not returned",
    "sender's system": "sent, not yet taken",
    "server's system, in": "come, not yet read",
    "outbox": "read, not yet passed on",
    "server's system, out": "passed on, not yet taken",
    "reader's system": "come, never read",
}
"""Where a message can be, in the order in which it gets there, and what that means."""

Sample = list[int]
"""Bytes in each place."""

RECORD = Path(__file__).with_suffix(".json")


class Pipe:
    """The picture of what was measured: a bar for each place."""

    def __init__(self) -> None:
        text = files("stages.lab.lessons.slow_consumers").joinpath(RECORD.name).read_text("utf-8")
        self.samples: list[Sample] = json.loads(text)
        self.length = len(self.samples) * SECONDS

    def __str__(self) -> str:
        last = zip(PLACES, self.samples[-1], strict=True)
        return "\n".join([*self.told(), *[f"{name}: {megabytes(size)}" for name, size in last]])

    def told(self) -> list[str]:
        """What fills when, without repetitions."""
        return list(dict.fromkeys(map(self.caption, range(1, len(self.samples)))))

    def caption(self, number: int) -> str:
        before, now = self.samples[number - 1 : number + 1]
        grown = [
            name for name, old, new in zip(PLACES, before, now, strict=True) if new - old > LITTLE
        ]
        return f"fills: {', then '.join(reversed(grown))}"

    def svg(self) -> str:
        animation = Animation(self.length, loop=True)
        moving, still = [], []
        for number, (name, meaning) in enumerate(PLACES.items()):
            x = MARGIN + number * WIDE
            sizes = [sample[number] for sample in self.samples]
            box = f'x="{x + 10}" width="{WIDE - 20}"'
            frame = f'<rect class="box" {box} y="{TOP}" height="{HIGH}" rx="4"/>'
            below = [*lines(name), *lines(meaning)]
            label = "".join(
                f'<text class="mid" x="{x + WIDE // 2}" y="{TOP + HIGH + 20 + 17 * n}">{words(word)}</text>'
                for n, word in enumerate(below)
            )
            full = HIGH * sizes[-1] // MOST
            bar = f'<rect class="fill" {box} y="{TOP + HIGH - full}" height="{full}"'
            size = f'<text class="mid" x="{x + WIDE // 2}" y="{TOP - 8}">up to {megabytes(sizes[-1])}</text>'
            moving.append(f"{frame}{bar}>{self.growth(sizes, animation)}</rect>{label}{size}")
            still.append(f"{frame}{bar}/>{label}{size}")
        moving += [
            animation.shown(
                [(number * SECONDS, "said"), ((number + 1) * SECONDS, "no")],
                f'<text x="{MARGIN}" y="{BOTTOM}">{words(self.caption(number))}</text>',
            )
            for number in range(1, len(self.samples))
        ]
        groups = ['<g class="film">', *moving, '</g><g class="still">', *still, "</g>"]
        return svg(2 * MARGIN + WIDE * len(PLACES), BOTTOM + MARGIN, STYLE, groups, str(self))

    def growth(self, sizes: Sample, animation: Animation) -> str:
        times = [number / len(sizes) for number in range(len(sizes))]
        heights = [HIGH * size // MOST for size in sizes]
        return "".join(
            animation.animate(
                f'<animate attributeName="{name}"',
                list(zip([*times, 1], map(str, [*values, values[-1]]), strict=True)),
            )
            for name, values in (
                ("height", heights),
                ("y", [TOP + HIGH - height for height in heights]),
            )
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.svg(), str(self))


SECONDS = 0.7  # a sample
LITTLE = 2**17  # bytes: one message
MARGIN, WIDE, TOP, HIGH, BOTTOM = 20, 132, 44, 150, 310  # pixels
MOST = 8 * 2**20  # bytes that fill a bar
STYLE = FILM + ".mq .fill{fill:var(--send)}"


def lines(text: str) -> list[str]:
    """A text in lines of a bar's width."""
    found = [""]
    for word in text.split():
        if found[-1] and len(f"{found[-1]} {word}") > 15:
            found.append("")
        found[-1] = f"{found[-1]} {word}".strip()
    return found


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
