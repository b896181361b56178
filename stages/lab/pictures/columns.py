"""Where the lanes of a diagram stand: whoever only sends at the left of the server, all others at
its right, so that a message goes from left to right."""

from dataclasses import dataclass

from stages.lab.pictures.record import Step
from stages.lab.pictures.svg import fitted, width_of

WIDEST = 848  # pixels that JupyterLab has at 1280
PAD, NEAREST, LESS = 16, 96, 16  # pixels: the margin, from lane to lane, and to try with less
LONGEST_NAME = 160
SERVER = ""  # no client has an empty name


def title_of(name: str) -> str:
    return fitted(name or "server", LONGEST_NAME)


def box_width(name: str) -> int:
    return width_of(title_of(name)) + 20


@dataclass(frozen=True)
class Columns:
    x: dict[str, int]
    """The middle of each lane."""

    width: int


def receivers(steps: list[Step]) -> set[str]:
    """Who subscribes or is sent messages, at any time."""
    subscribing = {step.who for step in steps if step.kind == "subscribe"}
    return subscribing | {
        arrow.who for step in steps for arrow in step.arrows if arrow.kind != "error"
    }


def place(senders: list[str], others: list[str], labels: dict[str, int], widest: int) -> Columns:
    """Make room for labels: of each client, how wide the widest is that goes between it and the
    server.

    Where that would be too much, labels reach over the lanes beside them. `widest` is the width of
    what needs the whole card.
    """
    for limit in range(WIDEST, NEAREST, -LESS):
        limited = {name: min(label + 40, limit) for name, label in labels.items()}
        left = outwards(senders[::-1], limited)
        right = outwards(others, limited)
        columns = columns_of(left, right, widest)
        if columns.width <= WIDEST:
            break
    return columns


def outwards(names: list[str], labels: dict[str, int]) -> dict[str, int]:
    """How far from the server each lane is, the nearest first."""
    far, before = 0, SERVER
    found = {}
    for name in names:
        apart = (box_width(before) + box_width(name)) // 2 + 16
        far = max(far + max(apart, NEAREST), labels.get(name, 0))
        found[name], before = far, name
    return found


def columns_of(left: dict[str, int], right: dict[str, int], widest: int) -> Columns:
    def margin(side: dict[str, int]) -> int:
        outermost, far = list(side.items())[-1] if side else (SERVER, 0)
        return far + box_width(outermost) // 2 + PAD

    server = margin(left)
    x = {name: server - far for name, far in reversed(left.items())} | {SERVER: server}
    x |= {name: server + far for name, far in right.items()}
    return Columns(x, max(server + margin(right), widest + 2 * PAD))
