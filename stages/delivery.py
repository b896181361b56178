"""The sender chooses: a message for all subscribers, or for just one.

    alice > {'command': 'subscribe', 'topic': 'foo'}
    carol > {'command': 'subscribe', 'topic': 'foo'}
    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one'}
    carol < {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one'}

Article: Delivery.
"""

import random
from collections.abc import Collection

from stages import basic, command_line, wire


class Server(basic.Server):
    """A queue that can send a message to one subscriber, chosen at random (reproducibly, given a
    `seed`)."""

    def __init__(self, *, seed: int | None = None) -> None:
        super().__init__()
        self.random = random.Random(seed)

    def check(self, command: wire.Command) -> None:
        super().check(command)
        if command["command"] == "send":
            # Without the field it is for all, so clients of the basic stage keep working.
            if command.get("delivery", "all") not in ("all", "one"):
                raise wire.FieldError(command, "delivery", "'all' or 'one'")

    def recipients(self, command: wire.Command) -> Collection[wire.Recipient]:
        """Who gets this message: all subscribers, or one of them, or nobody if there are none."""
        subscribers = super().recipients(command)
        if command.get("delivery") == "one" and subscribers:
            return [self.random.choice(list(subscribers))]
        return subscribers


if __name__ == "__main__":
    command_line.main(Server)
