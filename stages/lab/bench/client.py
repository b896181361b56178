"""A client that takes next to no time of its own, in a process of its own.

Started by `works`; it says that it is ready, waits for a line, and prints what it has measured. The
clock is the machine's, so that one client's start and another's end can be compared.
"""

import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

from stages.lab.bench import wires
from stages.lab.bench.wires import STREAM, TOPIC, Wire, resp, text_of

CHUNK, WORKERS, BLOCK = 2**20, 4, 100_000


def main() -> None:
    role, wire, port, number, size = json.loads(sys.argv[1])
    for result in ROLES[role](getattr(wires, wire), port, number, size):
        print(json.dumps(result), flush=True)
        sys.stdin.readline()


def publish(wire: Wire, port: int, number: int, topics: int) -> Iterator[Any]:
    """Publish to so many topics in turn, as fast as the server takes it. Tells when it began, and
    when the last answer had come."""
    jobs = wire in (wires.REDIS_STREAM, wires.JSON_JOBS)
    names = [STREAM if jobs else TOPIC]
    if topics > 1:
        names = [f"{TOPIC}{n}" for n in range(topics)]
    block = [wire.publish(name, text_of(n)) for n, name in enumerate(islice(cycle(names), BLOCK))]
    data = b"".join(islice(cycle(block), number))
    connection = wires.connect(port, wire)
    connection.setblocking(False)
    if topics > 1:  # they are there before the clock starts
        flood(connection, b"".join(block), BLOCK * wire.answered)
    yield "ready"
    begin = time.perf_counter()
    flood(connection, data, number * wire.answered)
    yield begin, time.perf_counter()


def flood(connection: socket.socket, data: bytes, due: int) -> None:
    """Send all of it, and receive so many line breaks."""
    view, sent = memoryview(data), 0
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while sent < len(view) or due > 0:
            for _, events in selector.select():
                if events & selectors.EVENT_READ:
                    due -= received(connection).count(b"\n")
                if events & selectors.EVENT_WRITE:
                    sent += connection.send(view[sent : sent + CHUNK])
                    if sent == len(view):
                        selector.modify(connection, selectors.EVENT_READ)


def received(connection: socket.socket) -> bytes:
    data = connection.recv(CHUNK)
    if not data:
        raise EOFError("the server has closed the connection")
    return data


def subscribe(wire: Wire, port: int, number: int, subscribers: int) -> Iterator[Any]:
    """Receive so many messages with each of so many connections. Tells when the last has come."""
    left: dict[socket.socket, int] = {}
    for _ in range(subscribers):
        connection = wires.connect(port, wire)
        wires.ask(connection, wire.subscribe(TOPIC), wire.subscribed)
        left[connection] = number * (wire.delivered or 1)
    time.sleep(0.2)  # on the article's wire nothing says that we have subscribed
    yield "ready"
    with selectors.DefaultSelector() as selector:
        for connection in left:
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                connection = key.fileobj  # type: ignore[assignment]
                data = received(connection)
                left[connection] -= len(data) if wire.delivered else data.count(b"\n")
                if left[connection] <= 0:
                    selector.unregister(connection)
    yield time.perf_counter()


def work(wire: Wire, port: int, number: int, _: int) -> Iterator[Any]:
    """Take so many jobs with four connections, and acknowledge each. Tells when the last is
    done."""
    ours = wire is wires.JSON_JOBS
    acknowledge = acks_of_json if ours else acks_of_redis
    connections = [wires.connect(port, wire) for _ in range(WORKERS)]
    for connection in connections if ours else connections[:1]:  # one makes the group of all
        wires.ask(connection, wire.subscribe(STREAM), wire.subscribed)
    more = [b"" if ours else more_of_redis(worker) for worker in range(WORKERS)]
    yield "ready"
    rest = dict.fromkeys(connections, b"")
    with selectors.DefaultSelector() as selector:
        for worker, connection in enumerate(connections):
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(more[worker])
        while number > 0:
            for key, _events in selector.select():
                connection = key.fileobj  # type: ignore[assignment]
                data = rest[connection] + received(connection)
                end = data.rfind(b"\n") + 1
                rest[connection] = data[end:]
                said, done = acknowledge(data[:end])
                if done:
                    connection.sendall(said + more[connections.index(connection)])
                number -= done
    yield time.perf_counter()


def acks_of_json(data: bytes) -> tuple[bytes, int]:
    """What a worker says to the jobs in `data`, and how many there are."""
    indexes = re.findall(rb'"index":(\d+)', data)
    acks = [b'{"command":"ack","topic":"%b","index":%b}\n' % (STREAM.encode(), n) for n in indexes]
    return b"".join(acks), len(indexes)


def acks_of_redis(data: bytes) -> tuple[bytes, int]:
    ids = [found.decode() for found in re.findall(rb"(\d+-\d+)\r\n", data)]
    return resp("XACK", STREAM, "workers", *ids) if ids else b"", len(ids)


def more_of_redis(worker: int) -> bytes:
    """Redis' workers ask for their jobs."""
    count = ("COUNT", 1000, "BLOCK", 1000, "STREAMS", STREAM, ">")
    return resp("XREADGROUP", "GROUP", "workers", f"w{worker}", *count)


def ping(wire: Wire, port: int, number: int, _: int) -> Iterator[Any]:
    """Send one message after the other. Tells how long each took to come back, in seconds."""
    subscriber, sender = wires.connect(port, wire), wires.connect(port, wire)
    wires.ask(subscriber, wire.subscribe(TOPIC), wire.subscribed)
    time.sleep(0.2)
    yield "ready"
    took = []
    for n in range(number):
        message = wire.publish(TOPIC, text_of(n))
        begin, left = time.perf_counter(), wire.delivered or 1
        sender.sendall(message)
        while left > 0:
            data = received(subscriber)
            left -= len(data) if wire.delivered else data.count(b"\n")
        took.append(time.perf_counter() - begin)
        if wire.answered:
            received(sender)
    yield took[number // 10 :]


def idle(wire: Wire, port: int, number: int, _: int) -> Iterator[Any]:
    """Open connections, and do nothing with them."""
    yield "ready"
    connections = [wires.connect(port, wire) for _ in range(number)]
    yield len(connections)


ROLES: dict[str, Callable[[Wire, int, int, int], Iterator[Any]]] = {
    "publish": publish,
    "subscribe": subscribe,
    "work": work,
    "ping": ping,
    "idle": idle,
}

if __name__ == "__main__":
    main()
