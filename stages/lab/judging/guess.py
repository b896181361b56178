"""Compare a guess with what has happened."""

from dataclasses import dataclass
from html import escape
from typing import Any

from IPython.lib.pretty import pretty

from stages.lab.pictures.svg import covered


@dataclass(frozen=True)
class Answer:
    """The answer to a question, which is not seen while its output is hidden."""

    text: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        html = covered(f"<pre>{escape(self.text)}</pre>")
        return {"text/html": html, "text/plain": self.text}

    def __str__(self) -> str:
        return self.text


def reveal(value: Any) -> Answer:
    """A value, or a text, as the answer to the question before a cell."""
    return Answer(value if isinstance(value, str) else pretty(value))


def guessed(guess: dict[str, Any], happened: dict[str, Any]) -> Answer:
    """What has happened, a line each; and whether that was your guess. An entry of `guess` that is
    still `...`, or `[...]`, is none."""
    if not isinstance(guess, dict):
        raise TypeError(f"guessed expects a dict such as {{'alice': 3}}, not {guess!r}")
    width = max(map(len, happened))
    return Answer(
        "\n".join(
            f"{name.ljust(width)}  {value!r}{remark(guess.get(name, ...), value)}"
            for name, value in happened.items()
        )
    )


def remark(guess: Any, value: Any) -> str:
    if guess in (..., [...]):
        return ""
    same = list(guess) == value if isinstance(guess, tuple) else guess == value
    return "   ✓ as you said" if same else f"   ✗ you said {guess!r}"
