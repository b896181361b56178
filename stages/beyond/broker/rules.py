"""The settings that the rules depend on, and what seeds their choices.

They arrive in a batch, like everything else: so replaying a log does not depend on the flags of
the server that replays it.
"""

from msgspec import Struct


class Rules(Struct, frozen=True, kw_only=True):
    """A server has a setting of each name, and says there what it means; a broker by itself has
    these."""

    cache_length: int = 100
    ack_timeout: float = 30.0
    waiting_length: int = 100_000
    waiting_size: int = 2**26
    seed: int | None = None  # None: other choices each time
