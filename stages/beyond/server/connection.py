"""What a server asks of a connection beyond writing to it: how much is unsent, who is at the other
end, and whether anybody listens in.

Source: asyncio's flow control (`set_write_buffer_limits`, `drain`) and `get_extra_info`.
"""

from collections.abc import Mapping
from contextlib import suppress

from stages import connection

TOO_SLOW, NOT_STORED, NOT_KNOWN = "Too slow", "Could not store", "Not known"
"""Why a server may end a connection."""

NO_LIMIT = 2**30
"""More than any buffer holds; uvloop knows no larger number."""

FORGOTTEN = AttributeError, RuntimeError
"""What asyncio's transports, and uvloop's, raise once they have forgotten their connection."""


class Connection(connection.Connection):
    """A connection with flow control, which may be encrypted."""

    # How much is unsent

    @property
    def size(self) -> int:
        """How many of the bytes written the operating system has not taken yet."""
        with suppress(*FORGOTTEN):
            return len(self.unsent) + self.writer.transport.get_write_buffer_size()
        return 0

    def limit(self, high_water: int) -> None:
        """Let `drained` wait whenever more than `high_water` bytes are unsent, until a quarter is
        left."""
        if self.encrypted:
            high_water = max(1, high_water)  # TLS already waits when there are as many
        with suppress(*FORGOTTEN):
            self.writer.transport.set_write_buffer_limits(high=min(high_water, NO_LIMIT))

    def abort(self) -> None:
        if self.encrypted:
            self.limit(NO_LIMIT)  # else asyncio of Python 3.11 complains if it waits just now
        with suppress(*FORGOTTEN):
            super().abort()

    # Who is at the other end

    @property
    def peer(self) -> str:
        """The address of the client."""
        with suppress(*FORGOTTEN):
            if found := self.writer.get_extra_info("peername"):
                return str(found[0])
        return "nowhere"

    @property
    def encrypted(self) -> bool:
        with suppress(*FORGOTTEN):  # asyncio's TLS, once it has been closed twice
            return self.writer.get_extra_info("sslcontext") is not None
        return False

    @property
    def certified_name(self) -> str | None:
        """The name in the certificate that the client has shown, if it has."""
        shown: Mapping[str, tuple[tuple[tuple[str, str], ...], ...]] = {}
        with suppress(*FORGOTTEN):
            shown = self.writer.get_extra_info("peercert") or {}
        names = {key: value for part in shown.get("subject", ()) for key, value in part}
        return names.get("commonName")
