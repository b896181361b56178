"""What our pictures share: colours, the width of a text, and how a notebook shows them."""

import unicodedata
from base64 import b64encode
from html import escape

from stages.lab.pictures.record import printable

CHAR = 8  # pixels: a character's width, in a monospaced font of 13

STYLE = """
.mq{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;
--ink:#1f2328;--dim:#57606a;--card:#fff;--edge:#d0d7de;--lane:#c3cad2;--box:#eaeef2;--rim:#8c959f;
--subscribe:#0969da;--send:#1a7f37;--deliver:#953800;--replay:#6639ba;--bad:#b3141f;--kept:#7d4e00;
--new:#fff1b8;--newrim:#9a6700}
@media(prefers-color-scheme:dark){.mq{
--ink:#e6edf3;--dim:#9198a1;--card:#0d1117;--edge:#30363d;--lane:#484f58;--box:#21262d;--rim:#8b949e;
--subscribe:#4493f8;--send:#3fb950;--deliver:#e3873c;--replay:#ab7df8;--bad:#ff7b72;--kept:#d29922;
--new:#4b3a00;--newrim:#d29922}}
.mq .card{fill:var(--card);stroke:var(--edge)}.mq text{fill:var(--ink);stroke:none}
.mq .mid{text-anchor:middle}
.mq .box{fill:var(--box);stroke:var(--rim)}.mq .chip{fill:var(--card);stroke:var(--rim)}
"""
"""Each colour of a text has a contrast of 4.5 and more on cards and boxes (WCAG, AA). Whoever reads in
the dark gets dark cards."""


def width_of(text: str) -> int:
    """Pixels that a text takes."""
    return CHAR * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fitted(text: str, pixels: int) -> str:
    """As much of a text as there is room for, in one line."""
    text = printable(text)
    if width_of(text) <= pixels:
        return text
    while width_of(text) + CHAR > pixels:
        text = text[: min(len(text) - 1, pixels // CHAR)]
    return f"{text}…"


def words(text: str) -> str:
    """A text as XML can have it."""
    return escape(printable(text))


def svg(width: int, height: int, style: str, parts: list[str], told: str) -> str:
    """A picture on a card, and what it shows in words for those that do not see it."""
    size = f'width="{width}" height="{height}"'
    lines = "\n".join(map(printable, told.splitlines()))
    named = f'role="img" aria-label="{escape(lines)}"'
    sheet = f"{STYLE}{style}".replace("\n", "")
    card = f'<rect class="card" x="0" y="0" {size} rx="8"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="mq" {size} {named} '
        f'viewBox="0 0 {width} {height}"><style>{sheet}</style>{card}{"".join(parts)}</svg>'
    )


def image(picture: str, alt: str) -> str:
    """The picture as HTML that JupyterLab shows before a notebook is trusted, and that shrinks
    where there is no room."""
    data = b64encode(picture.encode()).decode()
    alt = escape("\n".join(map(printable, alt.splitlines())))
    return f'<img style="max-width:100%" alt="{alt}" src="data:image/svg+xml;base64,{data}">'


def covered(html: str) -> str:
    """HTML that gives nothing away while its output is hidden: JupyterLab then shows the first
    line."""
    return f"<!-- What do you expect? Run the cell. -->\n{html}"


def bundle(picture: str, text: str) -> dict[str, str]:
    """A picture for a notebook, in every form that some viewer needs."""
    html = covered(image(picture, text))
    return {"text/html": html, "image/svg+xml": picture, "text/plain": text}
