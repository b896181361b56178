"""The sender chooses: a message for all subscribers, or for just one.

    alice > {'command': 'subscribe', 'topic': 'foo'}
    carol > {'command': 'subscribe', 'topic': 'foo'}
    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one'}
    carol < {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one'}

Article: Delivery.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass

from stages import basic, serve, settings, wire


@dataclass(eq=False)
class Server(basic.Server):
    """A queue that can send a message to one subscriber, chosen at random (reproducibly, given a
    `seed`)."""

    seed: int | None = settings.setting(
        None, "the same random choices each time, for the same N", trial=42
    )

    def __post_init__(self) -> None:
        settings.check(self)
        super().__init__()
        self.random = random.Random(self.seed)

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
    serve.main(Server)
