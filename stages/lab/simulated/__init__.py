"""What a browser lacks, in memory: a network, and programs that run beside the notebook.

In a browser, Python has one thread, no sockets and no processes. asyncio asks its loop for all of
these, so a loop that has them of its own is enough: what is above (stages, clients, lab and shared
tests) stays as it is.
"""


class NotInABrowser(Exception):
    """What a lesson shows cannot be had in a browser; the text says what."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: one sentence."""
        return [f"Not in a browser: {self}."]
