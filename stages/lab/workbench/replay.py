"""What clients have done on one server, done again on another: as far as that one knows how."""

from collections.abc import Sequence
from typing import Any

from stages import serve
from stages.lab.pictures.record import Step
from stages.lab.workbench.lab import Lab

SINCE = {
    "one": "delivery",
    "last_seen": "last_seen",
    "unsubscribe": "beyond.replies",
    "ack": "beyond.acks",
    "prefetch": "beyond.acks",
}
"""Since which stage a server has a command, or a field."""


def knows(stages: Sequence[str], stage: str, feature: str) -> bool:
    """Whether a stage, of all in order, has a command or field."""
    return stages.index(stage) >= stages.index(SINCE.get(feature, stages[0]))


async def replay(steps: list[Step], lab: Lab, known: set[str], new_server: Any) -> None:
    """Do what the steps say on another lab, which has just been launched. `known` are the commands
    and fields that its server has; `new_server()` makes the next one for a restart."""
    for step in steps:
        client = lab.clients.get(step.who)
        match step.kind:
            case "connect":
                await lab.connect(step.who)
            case "restart":
                server: serve.Handler = new_server()
                lab.restart(server)
            case "leave" if client and step.departure == "breaks off":
                await client.break_off()
            case "leave" if client and step.departure == "leaves":
                await client.leave()
            case _ if client and step.command:
                await repeat(step.command, client, known)


async def repeat(command: dict[str, Any], client: Any, known: set[str]) -> None:
    fields = {name: value for name, value in command.items() if name not in SINCE or name in known}
    verb = fields.pop("command")
    if verb == "send":
        if fields.get("delivery") == "one" and "one" not in known:
            del fields["delivery"]
        await client.send(**fields)
    elif verb == "subscribe":
        await client.subscribe(**fields)
    elif verb in known:
        await client.ask({"command": verb, **fields})
