"""When what happens in a film, and how it is told in words."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from stages.lab.workbench.record import (
    Arrow,
    Messages,
    Step,
    Subscriber,
    extras,
    msg_text,
    printable,
)

TRAVEL, REPLAY, PAUSE, READ = 0.9, 0.7, 0.2, 1.4  # seconds


@dataclass(frozen=True)
class Beat:
    """A step with its times in seconds: it starts, is at the server, its arrows arrive, it ends."""

    step: Step
    start: float
    at_server: float
    rounds: list[tuple[float, list[Arrow]]] = field(default_factory=list)
    """When arrows leave the server that travel together."""

    arrived: float = 0
    end: float = 0
    said: str = ""
    outcome: str = ""
    """Said when it has happened, not before: the reader may want to guess."""


def beats_of(steps: list[Step], first: int) -> list[Beat]:
    """Steps before number `first` have happened when the film begins."""
    past = [Beat(step, 0, 0, [(0, step.arrows)]) for step in steps[:first]]
    now, beats = 0.4, []
    before = steps[first - 1].kept if first else {}
    for step in steps[first:]:
        at_server = now + (TRAVEL if moves(step) else TRAVEL / 2)
        rounds, arrived = [], at_server
        for arrows in in_rounds(step.arrows):
            rounds.append((arrived + PAUSE, arrows))
            arrived += PAUSE + (TRAVEL if len(rounds) == 1 else REPLAY)
        end = arrived + (READ if moves(step) or step.arrows else READ / 2)
        beats.append(
            Beat(step, now, at_server, rounds, arrived, end, said(step), outcome(step, before))
        )
        now, before = end, step.kept
    return past + beats


def moves(step: Step) -> bool:
    """Whether something goes to the server."""
    return step.kind not in ("connect", "leave", "restart")


def in_rounds(arrows: list[Arrow]) -> Iterator[list[Arrow]]:
    """Arrows that travel together: each client's first, each client's second …"""
    rest = arrows
    while rest:
        firsts = {arrow.who: arrow for arrow in reversed(rest)}
        yield [arrow for arrow in rest if firsts[arrow.who] is arrow]
        rest = [arrow for arrow in rest if firsts[arrow.who] is not arrow]


def said(step: Step) -> str:
    command = step.command
    topic = printable(str(command.get("topic")))
    match step.kind, command.get("command"):
        case "subscribe", _:
            return f"{step.who} subscribes to {topic}{extras(command)}"
        case "send", _ if "msg" in command:
            return f"{step.who} sends {msg_text(command.get('msg'))} to {topic}{extras(command)}"
        case "other", "ack":
            return f"{step.who} has done #{command.get('index')} of {topic}"
        case (("other" | "send"), _):
            return f"{step.who}: {step.text}"
    return f"{step.who} {step.text}"


def outcome(step: Step, before: Messages) -> str:
    parts = [*told_of_arrows(step), *([step.fate] if step.fate else [])]
    if step.kind == "restart" and any(before.values()):
        parts.append("it has all it kept" if any(step.kept.values()) else "all it kept is gone")
    if step.kind == "leave" and not step.arrows:
        if any(each.gone and each.name == step.who for each in everybody(step)):
            parts.append("the server has not noticed")
        elif any(topic.endswith(f" with {step.who}") for topic in before if before[topic]):
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
                yield f"{who} {'gets' if len(names) == 1 else 'get'} {'it' if step.kind == 'send' else arrows[0].text}"


def counted(number: int) -> str:
    return "the message" if number == 1 else f"the {number} messages"
