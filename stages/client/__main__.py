"""The client for the terminal.

    $ python -m stages.client 7777 subscribe foo
    $ python -m stages.client 7777 send foo "hello"
    $ python -m stages.client 7777

Article: the commands shown in its sections, to be typed by hand.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine
from getpass import getpass
from ssl import SSLContext, create_default_context
from typing import Any

from stages import wire
from stages.client import Client
from stages.client.addresses import addresses
from stages.client.conversation import NOT_KNOWN
from stages.client.follow import follow
from stages.command_line import Parser
from stages.signals import wake_the_loop

VERBS = ("help", "subscribe", "unsubscribe", "send", "one", "work", "ack")
SHORT_FORMS = (
    "subscribe TOPIC [LAST_SEEN] | unsubscribe TOPIC | send TOPIC TEXT | one TOPIC TEXT | "
    "work TOPIC [PREFETCH] | ack TOPIC INDEX | quit, or a command as the server's wire spells it"
)


HOW_TO_LOG_IN = "expected it in STAGES_TOKEN, or --login"

Access = dict[str, Any]
"""The token and the encryption, for `Client.connect`."""


def access(ca: str | None, login: bool) -> Access:
    """A token is no argument of a command, since everybody on this machine can read those."""
    try:
        token = os.environ.get("STAGES_TOKEN") or (getpass("token: ") if login else None)
    except EOFError:
        raise wire.Error(f"no token: {HOW_TO_LOG_IN}") from None
    return {"token": token and token.strip(), "ssl": trusting(ca) if ca else None}


def trusting(ca: str) -> SSLContext:
    try:
        return create_default_context(cafile=ca)
    except OSError as problem:
        raise wire.Error(f"cannot use {ca} for --ca: {problem}") from None


def expand_shorthand(line: str) -> wire.Command | None:
    """The command that a short form means, if the line is one."""
    match line.split(maxsplit=2):
        case ["subscribe" | "unsubscribe" as verb, topic]:
            return {"command": verb, "topic": topic}
        case ["subscribe", topic, last_seen]:
            return {"command": "subscribe", "topic": topic, "last_seen": int_or_text(last_seen)}
        case ["send" | "one" as verb, topic, msg]:
            return {
                "command": "send",
                "topic": topic,
                "msg": msg,
                "delivery": "one" if verb == "one" else "all",
            }
        case ["work", topic]:
            return {"command": "subscribe", "topic": topic, "ack": True}
        case ["work", topic, prefetch]:
            return {
                "command": "subscribe",
                "topic": topic,
                "ack": True,
                "prefetch": int_or_text(prefetch),
            }
        case ["ack", topic, index]:
            return {"command": "ack", "topic": topic, "index": int_or_text(index)}
    return None


def int_or_text(text: str) -> int | str:
    """The number that a text spells; any other text as it is, for the server to reject."""
    return int(text) if text.removeprefix("-").isdecimal() else text


async def subscribe(where: str, host: str, access: Access, topic: str, last_seen: int) -> None:
    """Print the messages of a topic as they come, also after a restart of the server."""
    async for message in follow(where, topic, host=host, last_seen=last_seen, **access):
        print(message, flush=True)


async def typed_lines() -> AsyncGenerator[str, None]:
    """Yield the lines of standard input. They are read in a daemon thread, for which Ctrl-C need
    not wait."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    # Not sys.stdin itself, which Python could not close at its end while a thread waits for it.
    source = open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: ASYNC230, SIM115

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants the rest
            for line in itertools.chain(source, [b""]):
                loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, daemon=True).start()
    while line := await lines.get():
        yield line.decode().rstrip("\r\n")


async def send(
    where: str, host: str, access: Access, topic: str, text: str | None, delivery: str
) -> None:
    """Send one message, or each line of standard input; end when the server has taken them all."""
    async with await Client.connect(where, host, **access) as client:
        if text is not None:
            await client.send(topic, text, delivery=delivery)
        else:
            async for line in typed_lines():
                await client.send(topic, line, delivery=delivery)
        client.writer.write(b"quit\n")
        with contextlib.suppress(EOFError):
            await client.receive()  # it has subscribed to nothing: only an error could come


async def prompt(where: str, host: str, access: Access) -> None:
    """Send what is typed, and print what comes."""
    async with await Client.connect(where, host, **access) as client:
        if sys.stdin.isatty():
            print(SHORT_FORMS, flush=True)
        sending = asyncio.create_task(send_typed(client))
        while line := await client.reader.readline():
            print(line.decode(errors="backslashreplace").rstrip("\r\n"), flush=True)
        if sending.cancel():
            raise ConnectionError("the server has closed the connection")
        await sending


async def send_typed(client: Client) -> None:
    try:
        async for line in typed_lines():
            if line.strip() == "quit":
                break
            if command := expand_shorthand(line):
                # With an id, an answer that refuses tells why; and the line itself is a good one.
                client.writer.write(
                    client.encode({**command, "id": line} if client.speaks_json else command)
                )
            elif line.partition(" ")[0] in VERBS:
                print(SHORT_FORMS, flush=True)
            else:
                client.writer.write(f"{line}\n".encode())
    finally:
        client.writer.write(b"quit\n")


def parser() -> Parser:
    parser = Parser(
        prog="stages.client", description=f"Without an action: a prompt for {SHORT_FORMS}."
    )
    parser.add_argument("where", metavar="PORT", help="or, for one of several, host:port,host:port")
    parser.add_argument("--host", default="localhost", help="default: %(default)s")
    parser.add_argument("--ca", metavar="FILE", help="encrypt, and trust whom this authority does")
    parser.add_argument("--token", help=argparse.SUPPRESS)
    parser.add_argument(
        "--login", action="store_true", help="ask for a token, unless STAGES_TOKEN has it"
    )
    actions = parser.add_subparsers(prog="stages.client")
    parser.set_defaults(action=prompt)
    subscribing = actions.add_parser("subscribe", help="print the messages of a topic as they come")
    subscribing.add_argument("topic")
    subscribing.add_argument(
        "--last-seen", type=int, default=-1, metavar="N", help="only those after index N"
    )
    subscribing.set_defaults(action=subscribe)
    sending = actions.add_parser("send", help="send a text, or each line of standard input")
    sending.add_argument("topic")
    sending.add_argument("text", nargs="?")
    sending.add_argument(
        "--delivery", choices=["all", "one"], default="all", help="default: %(default)s"
    )
    sending.set_defaults(action=send)
    return parser


async def until_ctrl_c(action: Coroutine[Any, Any, None]) -> None:
    wake_the_loop()
    await action


def main() -> None:
    """The command line: `python -m stages.client PORT [--host localhost] [subscribe TOPIC | send
    TOPIC [TEXT]]`."""
    arguments = parser()
    chosen = vars(arguments.parse_args())
    action = chosen.pop("action")
    try:
        known = addresses(chosen["where"], chosen["host"])
    except ValueError as problem:
        arguments.error(str(problem))
    ca, login, token = map(chosen.pop, ("ca", "login", "token"))
    if token is not None:
        arguments.error(f"a token is no argument, which everybody can read: {HOW_TO_LOG_IN}")
    without = not login and not os.environ.get("STAGES_TOKEN")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        asyncio.run(until_ctrl_c(action(access=access(ca, login), **chosen)))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head -1` has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
    except wire.Error as problem:
        told = f" (no token: {HOW_TO_LOG_IN})" if without and NOT_KNOWN in str(problem) else ""
        arguments.exit(1, f"{arguments.prog}: {problem}{told}\n")
    except UnicodeDecodeError:
        arguments.error("standard input is not UTF-8")
    except (OSError, EOFError) as problem:
        reason = str(problem) or "it does not answer"
        there = ", ".join(f"{host}:{port}" for host, port in known)
        arguments.error(f"cannot reach {there}: {reason}")


if __name__ == "__main__":
    main()
