"""Stay connected: where and when to connect again after a loss, and how to notice one.

Of several servers the next one is tried at once; when all have failed, a delay doubles, with
jitter. A server that is silent is asked whether it is there: one that was cut off, or has stopped,
does not say so.

Source: the exponential back-off of Ethernet and of every client library since; the keep-alives of
MQTT and NATS.
"""

import asyncio
import random
import sys
from collections.abc import AsyncGenerator, Callable
from ssl import SSLCertVerificationError, SSLContext
from typing import Literal

from stages.client import Client
from stages.client.addresses import Address
from stages.client.conversation import Line

Report = Callable[[str], object]


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


SILENCE = 10
"""Seconds after which a server that says nothing is asked whether it is there, and, if it still
says nothing, given up."""


class Retries:
    """The attempts to connect: at most `attempts` in a row (None: for ever) at each address."""

    def __init__(
        self,
        where: list[Address],
        attempts: int | None,
        longest_delay: float,
        report: Report,
        token: str | None = None,
        ssl: SSLContext | None = None,
    ) -> None:
        self.token = token
        self.ssl = ssl
        self.where = where
        self.attempts = attempts
        self.longest_delay = longest_delay
        self.report = report
        self.failures = 0
        self.place = 0

    async def connect(self, speak: Literal["json"] | None = None) -> Client:
        host, port = self.where[self.place]
        return await Client.connect(
            port, host, speak=speak, timeout=SILENCE, token=self.token, ssl=self.ssl
        )

    async def wait(self, problem: Exception) -> None:
        """Say what has happened, and wait until it is time for the next attempt. Raises
        ConnectionError after the last one, and the problem itself if it is an impostor's."""
        if isinstance(problem, SSLCertVerificationError):
            raise problem
        host, port = self.where[self.place]
        self.place = (self.place + 1) % len(self.where)
        self.failures += 1
        rounds = self.failures // len(self.where)
        if self.attempts is not None and rounds > self.attempts:
            raise ConnectionError(
                f"no connection to {host}:{port} after {self.attempts} attempts: {problem}"
            ) from None
        if self.failures % len(self.where):
            next_host, next_port = self.where[self.place]
            told = f"trying {next_host}:{next_port}"
            self.report(f"no connection to {host}:{port}, {told} ({problem})")
            return
        longest = min(self.longest_delay, 0.05 * 2 ** min(rounds, 20))
        delay = longest * random.uniform(0.5, 1)
        self.report(f"no connection to {host}:{port}, trying again in {delay:.1f} s ({problem})")
        await asyncio.sleep(delay)


async def messages(client: Client) -> AsyncGenerator[Line, None]:
    """Yield the messages of a client, and make sure meanwhile that the server is there. Raises what
    `receive` raises, and TimeoutError if it is not."""
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                message = await client.receive()
        except TimeoutError:
            async with asyncio.timeout(SILENCE):
                await client.ping()
        else:
            yield message
