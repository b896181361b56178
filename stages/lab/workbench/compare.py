"""The same story on two stages: two films under one slider, and the code that ran."""

import json
import re
from collections.abc import Awaitable, Callable
from html import escape
from importlib.resources import files
from typing import Any

from stages import serve
from stages.lab.pictures.film import Film
from stages.lab.pictures.svg import image
from stages.lab.workbench.background import Background
from stages.lab.workbench.lab import Lab
from stages.lab.workbench.trace import Call, TracedLab

Story = Callable[[Lab], Awaitable[None]]
"""What clients do, as a notebook writes it."""


async def compare(story: Story, before: serve.Handler, after: serve.Handler) -> "Comparison":
    """Run a story on two servers; the result is shown as one page. Raises what the story
    raises."""
    recordings = [await record(story, server) for server in (before, after)]
    if not all(film.beats for film, _ in recordings):
        raise ValueError("the story did nothing: expected one that connects clients")
    first = max(film.first for film, _ in recordings)  # so that they stay side by side
    recordings = [(Film(film.steps, film.title, first), calls) for film, calls in recordings]
    name = getattr(story, "__name__", "story").replace("_", " ")
    return Comparison(name.capitalize(), (story.__doc__ or "").strip(), recordings)


async def record(story: Story, server: serve.Handler) -> tuple[Film, list[list[Call]]]:
    with TracedLab(server, Background) as lab:
        await story(lab)
        return lab.film(), lab.calls()


class Comparison:
    """Two films, and of each step the calls. `page()` needs nothing else: no library, no network."""

    def __init__(
        self, title: str, text: str, recordings: list[tuple[Film, list[list[Call]]]]
    ) -> None:
        self.title, self.text, self.recordings = title, text, recordings

    def page(self) -> str:
        template = files("stages.lab.workbench").joinpath("compare.html").read_text("utf-8")
        films = "".join(
            f'<section><div class="film-box">{film.svg()}</div>'
            '<div class="ran-here"><div class="calls"></div>'
            '<div class="code" tabindex="0" aria-label="the code that ran"></div></div></section>'
            for film, _ in self.recordings
        )
        fields = {
            "TITLE": escape(self.title),
            "TEXT": escape(" ".join(self.text.split())),
            "FILMS": films,
            "DATA": json.dumps(self.data(), separators=(",", ":")).replace("</", "<\\/"),
        }
        return re.sub("__([A-Z]+)__", lambda place: fields[place[1]], template)

    def data(self) -> dict[str, Any]:
        """What the page's script needs: each function once, and by film its steps: when they
        begin and end, and what ran."""
        functions = list(
            {
                call.function: None
                for _, steps in self.recordings
                for calls in steps
                for call in calls
            }
        )
        return {
            "stages": [film.title for film, _ in self.recordings],
            "functions": [[str(each), each.file, each.source] for each in functions],
            "films": [
                [
                    [
                        round(beat.start, 2),
                        round(beat.end, 2),
                        [[functions.index(call.function), call.ran] for call in calls],
                    ]
                    for beat, calls in zip(film.beats, steps[film.first :], strict=True)
                ]
                for film, steps in self.recordings
            ],
        }

    def __str__(self) -> str:
        return "\n\n".join(f"{film.title}:\n{film}" for film, _ in self.recordings)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """The page; where a notebook is not trusted, and so without scripts, the two films."""
        films = "".join(image(film.svg(), str(film)) for film, _ in self.recordings)
        height = 480 + sum(film.height for film, _ in self.recordings)
        frame = (
            f'<iframe title="{escape(self.title)}" style="width:100%;height:{height}px;border:0" '
            f'srcdoc="{escape(self.page())}"></iframe>'
        )
        style = "<style>.mq-compare iframe+div{display:none}</style>"
        html = f'{style}<div class="mq-compare">{frame}<div>{films}</div></div>'
        return {"text/html": html, "text/plain": str(self)}
