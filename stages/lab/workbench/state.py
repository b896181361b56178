"""What a server knows, asked of it for the pictures and the playground."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from stages import serve
from stages.beyond import durable, replies
from stages.lab.workbench.record import Messages, Subscriber


@dataclass(frozen=True)
class State:
    """By topic: who subscribes, what is kept, and how many messages were numbered."""

    subscribers: dict[str, list[Subscriber]] = field(default_factory=dict)
    messages: Messages = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    on_disk: bool = False


def state_of(server: serve.Handler) -> State:
    """The state of a server, with clients by name. To be called in the server's loop.

    A stage of the article has it in its public `topics`, `caches` and `indexes`; later its broker
    tells.
    """
    if isinstance(server, replies.Server):
        return state_of_broker(server)
    topics, caches, indexes = (
        dict(getattr(server, name, {})) for name in ("topics", "caches", "indexes")
    )
    return State(
        {topic: list(map(subscriber, clients)) for topic, clients in topics.items()},
        {topic: [dict(message) for message in cache] for topic, cache in caches.items()},
        indexes,
    )


def state_of_broker(server: replies.Server) -> State:
    state = State(on_disk=isinstance(server, durable.Server) and server.data != "")
    for topic, kept in server.broker.kept().items():
        connections = [server.connections[client] for client in kept.subscribers]
        state.subscribers[topic] = list(map(subscriber, connections))
        state.messages[topic] = msgspec.to_builtins(kept.messages)
        state.sent[topic] = kept.next_index
        for client, messages in kept.in_flight.items():
            worker = subscriber(server.connections[client]).name
            state.messages[f"{topic} with {worker}"] = msgspec.to_builtins(messages)
    return state


def subscriber(client: Any) -> Subscriber:
    """A client as the lab knows it; a learner's class may have put anything in its place."""
    gone = getattr(client, "gone", None)
    return Subscriber(getattr(client, "name", str(client)), gone is not None and gone.done())
