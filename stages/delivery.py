"""The sender chooses: a message for all subscribers, or for just one.

    alice > {'command': 'subscribe', 'topic': 'foo'}
    carol > {'command': 'subscribe', 'topic': 'foo'}
    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one'}
    carol < {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one'}

Article: Delivery.
"""

import random
from collections.abc import Collection

from stages import basic, serve, wire


class Server(basic.Server):
    """A queue that can hand a message to one subscriber, drawn by lot (from `seed`, if given)."""

    def __init__(self, *, seed: int | None = None) -> None:
        super().__init__()
        self.random = random.Random(seed)

    def check(self, command: wire.Command) -> None:
        super().check(command)
        if command["command"] == "send":
            # Without the field it is for all, so clients of the basic stage keep working.
            if command.get("delivery", "all") not in ("all", "one"):
                raise wire.FieldError(command, "delivery", "'all' or 'one'")

    def recipients(self, command: wire.Command) -> Collection[wire.Client]:
        """Who gets this message: all subscribers, or one of them, or nobody if there are none."""
        if command.get("delivery") == "one":
            takers = self.takers(command)
            return [self.random.choice(takers)] if takers else []
        return super().recipients(command)

    def takers(self, command: wire.Command) -> list[wire.Client]:
        """Among whom to draw lots for a `one` message: all subscribers."""
        return list(super().recipients(command))


if __name__ == "__main__":
    serve.main(Server)
