"""What a worker says."""

from typing import Any

from peer import Message, Peer


async def ack(peer: Peer, topic: str, index: int) -> list[Message]:
    """Acknowledge a message; gives what was heard until that was done."""
    peer.write_command(command="ack", topic=topic, index=index)
    return await peer.heard()


def works(messages: list[Message]) -> list[tuple[Any, Any, bool]]:
    """Index and text of each message, and whether it comes not for the first time."""
    assert all("msg" in message for message in messages), f"expected messages, got {messages}"
    return [
        (message.get("index"), message["msg"], message.get("redelivered") is True)
        for message in messages
    ]
