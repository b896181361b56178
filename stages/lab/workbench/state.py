"""What a server knows, asked of it for the pictures and the playground."""

from dataclasses import dataclass, field

import msgspec

from stages import serve
from stages.beyond import replies
from stages.lab.workbench.record import Messages


@dataclass(frozen=True)
class State:
    """By topic: who subscribes, what is kept, and how many messages were numbered."""

    subscribers: dict[str, list[str]] = field(default_factory=dict)
    messages: Messages = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)


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
        {topic: list(map(str, clients)) for topic, clients in topics.items()},
        {topic: [dict(message) for message in cache] for topic, cache in caches.items()},
        indexes,
    )


def state_of_broker(server: replies.Server) -> State:
    state = State()
    for topic, kept in server.broker.kept().items():
        state.subscribers[topic] = [str(server.connections[client]) for client in kept.subscribers]
        state.messages[topic] = msgspec.to_builtins(kept.messages)
        state.sent[topic] = kept.next_index
        for client, messages in kept.in_flight.items():
            state.messages[f"{topic} with {server.connections[client]}"] = msgspec.to_builtins(
                messages
            )
    return state
