"""Do the work of a topic, across lost connections and restarts of the server.

    async for job in work(7777, "jobs", prefetch=1):
        print(job["msg"])                                   # and when this is done, the next comes

Source: the workers of RabbitMQ's tutorial, with the reconnecting that it leaves out.
"""

import asyncio
from collections.abc import AsyncGenerator
from ssl import SSLContext

from stages import wire
from stages.client import Client
from stages.client.addresses import Where, addresses
from stages.client.conversation import Line
from stages.client.retries import SILENCE, Report, Retries, messages, to_stderr


async def work(
    where: Where,
    topic: str,
    *,
    host: str = "localhost",
    prefetch: int = 1,
    attempts: int | None = None,
    longest_delay: float = 5.0,
    report: Report = to_stderr,
    token: str | None = None,
    ssl: SSLContext | None = None,
) -> AsyncGenerator[Line, None]:
    """Yield the messages of a topic, since stage `acks`, and acknowledge each when the body of the
    loop has ended.

    If the body raises, or leaves the loop, the connection is closed, and what was not acknowledged
    goes to another worker. `where` is a port, or addresses, as for `follow`. After a loss it
    connects anew, as `follow` does; what it had in hand may then come again: a job is done at least
    once. `prefetch` is how many messages it may have at a time. `report` is called with each loss,
    and with a job that another worker has done as well. Raises ConnectionError after the last of
    the `attempts` in a row, and `wire.Error` if the server refuses the subscription. `token` and
    `ssl` are those of `Client.connect`.
    """
    retries = Retries(addresses(where, host), attempts, longest_delay, report, token, ssl)
    while True:
        try:
            async with await retries.connect(speak="json") as client:
                async with asyncio.timeout(SILENCE):
                    await client.subscribe(topic, ack=True, prefetch=prefetch)
                async for job in messages(client):
                    retries.failures = 0
                    yield job
                    if job["delivery"] == "one":
                        await acknowledge(client, job, report)
        except (EOFError, OSError) as problem:
            await retries.wait(problem)


async def acknowledge(client: Client, job: Line, report: Report) -> None:
    try:
        async with asyncio.timeout(SILENCE):
            await client.ack(job)
    except wire.Error as refusal:
        report(f"{job['topic']} {job['index']} took so long that another was faster ({refusal})")
