"""The client for the terminal.

    $ python -m stages.client 7777 subscribe foo
    $ python -m stages.client 7777 send foo "hello"
    $ python -m stages.client 7777

Article: the commands shown in its sections, to be typed by hand.
"""

import asyncio
import itertools
import os
import sys
import threading

from stages import serve, wire
from stages.client import Client, follow

SHORT_FORMS = "subscribe TOPIC [LAST_SEEN] | send TOPIC TEXT | one TOPIC TEXT | quit, or a command as a dict"


def spelled_out(line: str) -> str:
    """The command that a short form means; any other line as it is."""
    match line.split(maxsplit=2):
        case ["subscribe", topic]:
            return str({"command": "subscribe", "topic": topic})
        case ["subscribe", topic, last_seen]:
            return str({"command": "subscribe", "topic": topic, "last_seen": last_seen})
        case ["send" | "one" as verb, topic, msg]:
            return str({"command": "send", "topic": topic, "msg": msg, "delivery": "one" if verb == "one" else "all"})
    return line


async def subscribe(port: int, host: str, topic: str, last_seen: int) -> None:
    """Print the messages of a topic as they come, also after a restart of the server."""

    def report(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    async for message in follow(port, topic, host=host, last_seen=last_seen, report=report):
        print(message, flush=True)


async def send(port: int, host: str, topic: str, text: str | None, delivery: str) -> None:
    """Send one message, or each line of standard input; end when the server has taken them all."""
    async with await Client.connect(port, host) as client:
        for line in sys.stdin if text is None else [text]:
            await client.send(topic, line.rstrip("\n"), delivery=delivery)
        client.writer.write(b"quit\n")
        async for _ in client:
            pass  # it has subscribed to nothing: only an error could come, and raises


async def prompt(port: int, host: str) -> None:
    """Send what is typed, and print what comes."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[str] = asyncio.Queue()

    def read_lines() -> None:
        for line in itertools.chain(sys.stdin, ["quit"]):
            loop.call_soon_threadsafe(typed.put_nowait, line)

    async with await Client.connect(port, host) as client:

        async def send_typed() -> None:
            while True:
                client.writer.write(f"{spelled_out((await typed.get()).strip())}\n".encode(errors="surrogateescape"))

        if sys.stdin.isatty():
            print(SHORT_FORMS, flush=True)
        threading.Thread(target=read_lines, daemon=True).start()  # a daemon: Ctrl-C must not wait for a line
        sending = asyncio.create_task(send_typed())
        while line := await client.reader.readline():
            print(line.decode(errors="backslashreplace"), end="", flush=True)
        sending.cancel()


def main() -> None:
    """The command line: `python -m stages.client PORT [--host localhost] [subscribe TOPIC | send TOPIC [TEXT]]`."""
    parser = serve.Parser(prog="stages.client", description=f"Without an action: a prompt for {SHORT_FORMS}.")
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="localhost", help="default: %(default)s")
    actions = parser.add_subparsers()
    parser.set_defaults(action=prompt)
    subscribing = actions.add_parser("subscribe", help="print the messages of a topic as they come")
    subscribing.add_argument("topic")
    subscribing.add_argument("--last-seen", type=int, default=-1, metavar="N", help="only those after index N")
    subscribing.set_defaults(action=subscribe)
    sending = actions.add_parser("send", help="send a text, or each line of standard input")
    sending.add_argument("topic")
    sending.add_argument("text", nargs="?")
    sending.add_argument("--delivery", choices=["all", "one"], default="all", help="default: %(default)s")
    sending.set_defaults(action=send)
    arguments = vars(parser.parse_args())
    action = arguments.pop("action")
    try:
        asyncio.run(action(**arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head -1` has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
    except wire.Error as problem:
        parser.exit(1, f"{parser.prog}: the server says: {problem}\n")
    except (OSError, OverflowError) as problem:
        parser.error(f"cannot reach {arguments['host']}:{arguments['port']}: {problem}")
