"""What a class is judged by: claims, each held or not, and the verdict on them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.lab.workbench.reading import Text

LONGEST, LAST_STEPS = 100, 8
"""How many characters of a value are shown, and how many lines of the wire."""

HOLDS, UNHARDENED, NOT_YET = "solved", "solved, but not hardened", "not yet"


@dataclass(frozen=True)
class Claim:
    """What should be so; what was expected, and what was got."""

    text: str
    expected: Any = None
    got: Any = None
    failed: bool = False  # whatever the two look like
    stage: str = ""  # that introduces it
    hardening: bool = False  # it is about hostile input
    hint: str = ""
    fault: str = ""  # with what the class failed, and where
    wire: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        return not self.failed and self.expected == self.got

    @property
    def difference(self) -> tuple[str, str]:
        """What was expected and got, cut to the place where they begin to differ."""
        return around_difference(str(self.expected), str(self.got))

    def explained(self) -> str:
        """All that may help, as the terminal shows it."""
        expected, received = self.difference
        return "\n".join(
            [
                f"claim     {self.text}",
                *[f"the wire  {line}" for line in self.wire[-20:]],
                f"expected  {expected}",
                f"received  {received}",
                *([f"failed    {self.fault}"] if self.fault else []),
                *([f"hint      {self.hint}"] if self.hint else []),
            ]
        )


def around_difference(one: str, other: str, length: int = LONGEST) -> tuple[str, str]:
    """Two texts, cut so that the place where they begin to differ is seen."""
    pairs = enumerate(zip(one, other, strict=False))
    common = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    start = max(0, min(common - length // 3, max(len(one), len(other)) - length))
    return window(one, start, length), window(other, start, length)


def window(text: str, start: int, length: int) -> str:
    end = "…" if len(text) > start + length else ""
    return ("…" if start else "") + text[start : start + length] + end


HARD_BREAK = "  "  # of Markdown, at the end of a line


def outcome(claims: Sequence[Claim]) -> str:
    """In a word: solved, if all hold."""
    broken = [claim for claim in claims if not claim.held]
    if not broken:
        return HOLDS
    return UNHARDENED if all(claim.hardening for claim in broken) else NOT_YET


def verdict(claims: Sequence[Claim]) -> Text:
    """A line for each claim, what may help where it does not hold, and the outcome."""
    lines, plain = [], []
    for claim in sorted(claims, key=lambda claim: claim.hardening):
        line, helps = line_of(claim), help_with(claim)
        lines.append(f"{line}{folded(helps) if helps else HARD_BREAK}")
        plain += [line.replace("`", ""), *[f"    {each}" for each in helps]]
    end = outcome(claims)
    return Text("\n".join([*lines, "", f"**{end}**"]), "\n".join([*plain, end]))


def line_of(claim: Claim) -> str:
    text = f"(hardening) {claim.text}" if claim.hardening else claim.text
    if claim.held:
        return f"✓ {text}"
    expected, got = (each.replace("`", "'") for each in claim.difference)
    return f"✗ {text}: expected `{expected}`, got `{got}`"


def help_with(claim: Claim) -> list[str]:
    """What may help where a claim does not hold, a line each."""
    if claim.held:
        return []
    failed = [f"your class failed: {claim.fault}"] if claim.fault else []
    hint = [f"hint: {claim.hint}"] if claim.hint else []
    earlier = ["…"] if len(claim.wire) > LAST_STEPS else []
    return [*failed, *hint, *earlier, *claim.wire[-LAST_STEPS:]]


def folded(lines: Sequence[str]) -> str:
    """Lines that are shown when they are asked for."""
    text = "\n".join(lines)
    return f"\n\n<details><summary>why</summary>\n\n```text\n{text}\n```\n\n</details>\n"
