"""What the arrows and boxes of a diagram mean."""

from html import escape
from typing import Any

from stages.lab.pictures.columns import PAD
from stages.lab.pictures.drawing import ROW, STYLE, arrow_line, cross
from stages.lab.pictures.record import LOST
from stages.lab.pictures.svg import bundle, svg, width_of

ARROWS = {
    "send": "a command that sends a message",
    "subscribe": "a command that subscribes",
    "other": "any other line",
    "deliver": "a message, to whoever is subscribed now",
    "replay": "a message that was kept, to somebody who subscribes later",
    "error": "✗ the server refuses a line",
    "missed": "to somebody who is gone: missed, but the server has kept it",
    "lost": "to somebody who is gone: lost",
}
CHIPS = {
    "new": "kept by the server, since this step",
    "chip": "kept by the server before",
    "old": "no longer kept",
}
SAMPLE = 72  # pixels


class Legend:
    """All kinds of lines, with what they mean."""

    def __str__(self) -> str:
        return "\n".join([*ARROWS.values(), *CHIPS.values(), "✕  a connection has ended"])

    def svg(self) -> str:
        parts, y, x = [], PAD, 2 * PAD + SAMPLE

        def row(kind: str, sample: str, text: str) -> str:
            words = f'<text x="{x}" y="{y + 20}">{escape(text)}</text>'
            return f'<g class="{kind}">{sample}</g>{words}'

        for kind, text in ARROWS.items():
            lost = kind in LOST
            parts.append(row(kind, arrow_line(PAD, PAD + SAMPLE, y + 16, lost=lost), text))
            y += ROW - 4
        for kind, text in CHIPS.items():
            box = f'<rect class="chip" x="{PAD}" y="{y + 4}" width="{SAMPLE}" height="22" rx="4"/>'
            parts.append(
                row(
                    kind,
                    f'{box}<text class="mid" x="{PAD + SAMPLE // 2}" y="{y + 20}">hello</text>',
                    text,
                )
            )
            y += ROW - 4
        parts.append(row("other", cross(PAD + SAMPLE // 2, y + 16), "a connection has ended"))
        width = x + max(map(width_of, ARROWS.values())) + PAD
        return svg(width, y + ROW + PAD, STYLE, parts, str(self))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.svg(), str(self))


def legend() -> Legend:
    """What the lines of a diagram mean."""
    return Legend()
