"""Signals that wake an event loop.

A signal that comes just before a loop begins to wait sets a flag, and nothing more: Python would
run its handler only when something else wakes the loop. On a busy machine that happens.

Source: the documentation of `signal.set_wakeup_fd`, which asyncio uses for its own handlers only.
"""

import asyncio
import signal
from contextlib import suppress


def wake_the_loop() -> None:
    """From now on, have each signal wake the loop that runs. Call this in the main thread."""
    with suppress(NotImplementedError, AttributeError):  # on Windows, the loop does so by itself
        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, lambda: None)
