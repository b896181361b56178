"""When what happens in a film, and how it is told in words."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from stages.lab.pictures.record import Arrow, Step, Subscriber, extras, msg_text, shortened

TRAVEL, REPLAY, PAUSE, READ = 0.9, 0.7, 0.2, 1.4  # seconds
ROUNDS = 5


class Round(NamedTuple):
    """Arrows that travel together."""

    leaves: float
    arrives: float
    arrows: list[Arrow]


@dataclass(frozen=True)
class Beat:
    """A step with its times in seconds: it starts, is at the server, its arrows arrive, it ends."""

    step: Step
    start: float
    at_server: float
    rounds: list[Round] = field(default_factory=list)

    arrived: float = 0
    end: float = 0
    said: str = ""
    outcome: str = ""
    """Said when it has happened, not before: the reader may want to guess."""


def beats_of(steps: list[Step], first: int) -> list[Beat]:
    """Steps before number `first` have happened when the film begins."""
    past = [Beat(step, 0, 0, [Round(0, 0, step.arrows)]) for step in steps[:first]]
    now, beats = 0.4, []
    before = steps[first - 1] if first else None
    for step in steps[first:]:
        at_server = now + (TRAVEL if step.goes_to_server else TRAVEL / 2)
        rounds, arrived = list[Round](), at_server
        for arrows in in_rounds(step.arrows):
            leaves, arrived = arrived + PAUSE, arrived + PAUSE + (REPLAY if rounds else TRAVEL)
            rounds.append(Round(leaves, arrived, arrows))
        end = arrived + (READ if step.goes_to_server or step.arrows else READ / 2)
        beats.append(
            Beat(step, now, at_server, rounds, arrived, end, said(step), outcome(step, before))
        )
        now, before = end, step
    return past + beats


def in_rounds(arrows: list[Arrow]) -> Iterator[list[Arrow]]:
    """Arrows that travel together: each client's first, each client's second …; at last all the
    rest."""
    rest = arrows
    for _ in range(ROUNDS - 1):
        if not rest:
            return
        firsts = {arrow.who: arrow for arrow in reversed(rest)}
        yield [arrow for arrow in rest if firsts[arrow.who] is arrow]
        rest = [arrow for arrow in rest if firsts[arrow.who] is not arrow]
    if rest:
        yield rest


def said(step: Step) -> str:
    command = step.command
    topic = step.topic
    match step.kind, command.get("command"):
        case "subscribe", _:
            return f"{step.who} subscribes to {topic}{extras(command)}"
        case "send", _ if "msg" in command:
            return f"{step.who} sends {msg_text(command.get('msg'))} to {topic}{extras(command)}"
        case "other", "ack":
            index = shortened(str(command.get("index")))
            return f"{step.who} has done #{index} of {topic}"
        case (("other" | "send"), _):
            return f"{step.who}: {step.text}"
    return f"{step.who} {step.text}"


def outcome(step: Step, before: Step | None) -> str:
    parts = [*told_of_arrows(step), *([str(step.fate)] if step.fate else [])]
    if step.kind == "restart" and before and any(before.kept.values()):
        parts.append("it has all it kept" if any(step.kept.values()) else "all it kept is gone")
    if step.kind == "leave" and not step.arrows:
        if any(each.gone and each.name == step.who for each in everybody(step)):
            parts.append("the server has not noticed")
        elif before and any(worker == step.who for _, worker in before.held):
            parts.append("what it had waits for another worker")
    return "; ".join(parts)


def everybody(step: Step) -> Iterator[Subscriber]:
    for subscribers in step.subscribers.values():
        yield from subscribers


def told_of_arrows(step: Step) -> Iterator[str]:
    by_kind: dict[str, list[Arrow]] = {}
    for arrow in step.arrows:
        by_kind.setdefault(arrow.kind, []).append(arrow)
    for kind, arrows in by_kind.items():
        names = list(dict.fromkeys(arrow.who for arrow in arrows))
        who = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        match kind:
            case "error":
                yield f"✗ refused: {arrows[0].text}"
            case "lost":
                yield f"✗ lost: {who} is gone, and the server has not noticed"
            case "missed":
                yield f"{who} is gone and misses it, but it is kept"
            case "replay":
                yield f"{who} gets {counted(len(arrows))} that waited"
            case _:
                more = f" and {len(arrows) - 1} more" if arrows[1:] else ""
                what = "it" if step.kind == "send" else f"{arrows[0].text}{more}"
                yield f"{who} {'gets' if len(names) == 1 else 'get'} {what}"


def counted(number: int) -> str:
    return "the message" if number == 1 else f"the {number} messages"
