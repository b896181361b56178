"""Compare a guess with what has happened."""

from typing import Any

from stages.lab.workbench.reading import Text


def guessed(guess: dict[str, Any], happened: dict[str, Any]) -> Text:
    """What has happened, a line each; and whether that was your guess. An entry of `guess` that is
    still `...` is none."""
    if not isinstance(guess, dict):
        raise TypeError(f"guessed expects a dict such as {{'alice': 3}}, not {guess!r}")
    width = max(map(len, happened))
    lines = [
        f"{name.ljust(width)}  {value!r}{remark(guess.get(name, ...), value)}"
        for name, value in happened.items()
    ]
    plain = "\n".join(lines)
    return Text(f"```text\n{plain}\n```", plain)


def remark(guess: Any, value: Any) -> str:
    if guess is ...:
        return ""
    same = list(guess) == value if isinstance(guess, tuple) else guess == value
    return "   ✓ as you said" if same else f"   ✗ you said {guess!r}"
