"""What a server knows, asked of it for the pictures and the playground."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stages import serve
from stages.beyond import cluster
from stages.lab.pictures.record import Held, Messages, Subscriber


@dataclass
class State:
    """By topic: who subscribes, what is kept, what workers have, how many messages were numbered."""

    subscribers: dict[str, list[Subscriber]] = field(default_factory=dict)
    messages: Messages = field(default_factory=dict)
    held: Held = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)
    on_disk: bool = False


def state_of(server: serve.Handler) -> State:
    """The state of a server, with clients by name. To be called in the server's loop.

    A stage of the article has it in its public `topics`, `caches` and `indexes`, where a learner's
    class may have put anything; later its broker tells.
    """
    if hasattr(server, "broker") and hasattr(server, "connections"):
        return state_of_broker(server)
    return State(
        {topic: list(map(subscriber, clients)) for topic, clients in lists_of(server, "topics")},
        {topic: list(map(as_message, cache)) for topic, cache in lists_of(server, "caches")},
        sent=dict(by_topic(server, "indexes")),
    )


def by_topic(server: serve.Handler, name: str) -> list[tuple[str, Any]]:
    found = getattr(server, name, {})
    return [(str(topic), it) for topic, it in found.items()] if isinstance(found, Mapping) else []


def lists_of(server: serve.Handler, name: str) -> list[tuple[str, Iterable[Any]]]:
    return [(topic, it) for topic, it in by_topic(server, name) if isinstance(it, Iterable)]


def as_message(kept: Any) -> dict[str, Any]:
    return dict(kept) if isinstance(kept, Mapping) else {"msg": kept}


def state_of_broker(server: Any) -> State:
    survives = getattr(server, "data", "") != ""
    state = State(on_disk=survives or isinstance(server, cluster.Server))
    for topic, kept in server.broker.kept().items():
        connections = [server.connections[client] for client in kept.subscribers]
        state.subscribers[topic] = list(map(subscriber, connections))
        state.messages[topic] = msgspec.to_builtins(kept.messages)
        state.sent[topic] = kept.next_index
        for client, messages in kept.in_flight.items():
            worker = subscriber(server.connections[client]).name
            state.held[topic, worker] = msgspec.to_builtins(messages)
    return state


def subscriber(client: Any) -> Subscriber:
    """A client as the lab knows it; in a learner's class it may be anything else."""
    gone = getattr(client, "gone", None)
    return Subscriber(getattr(client, "name", str(client)), gone is not None and gone.done())
