"""When to connect again after a loss: with a delay that doubles, and jitter.

Source: the exponential back-off of Ethernet and of every client library since.
"""

import asyncio
import random
import sys
from collections.abc import Callable

Report = Callable[[str], object]


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Retries:
    """The attempts to connect to one address: at most `attempts` in a row (None: for ever)."""

    def __init__(
        self, address: str, attempts: int | None, longest_delay: float, report: Report
    ) -> None:
        self.address = address
        self.attempts = attempts
        self.longest_delay = longest_delay
        self.report = report
        self.failures = 0

    async def wait(self, problem: Exception) -> None:
        """Say what has happened, and wait until it is time for the next attempt. Raises
        ConnectionError after the last one."""
        self.failures += 1
        if self.attempts is not None and self.failures > self.attempts:
            raise ConnectionError(
                f"no connection to {self.address} after {self.attempts} attempts: {problem}"
            ) from None
        longest = min(self.longest_delay, 0.05 * 2 ** min(self.failures, 20))
        delay = longest * random.uniform(0.5, 1)
        self.report(f"no connection to {self.address}, trying again in {delay:.1f} s ({problem})")
        await asyncio.sleep(delay)
