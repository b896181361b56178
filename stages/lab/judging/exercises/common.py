"""What the exercises have in common."""

from collections.abc import AsyncIterator
from typing import Any

from stages.lab.judging.claims import Claim
from stages.lab.workbench.lab import NamedClient

Claims = AsyncIterator[Claim]


def texts(messages: list[dict[str, Any]]) -> list[Any]:
    return [message.get("msg", message) for message in messages]


async def heard(client: NamedClient) -> list[Any]:
    """The texts of all messages that a client has received."""
    return texts(await client.all_messages())


async def accepted(client: NamedClient, **command: Any) -> Any:
    """True if the command succeeds, else what the server says."""
    answer = await client.ask(command)
    return answer["success"] or answer.get("detail", answer["reason"])
