"""Messages are numbered, so a subscriber that reconnects continues where it left off.

    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'all'}
    alice > {'command': 'subscribe', 'topic': 'foo', 'last_seen': -1}
    alice < {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'all', 'index': 0}

Article: Last seen semantics.
"""

import re
from typing import Any

from stages import caching, command_line, wire


class Server(caching.Server):
    """A queue that numbers the messages of each topic 0, 1, 2 …, and replays only those that a
    subscriber has not seen."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.indexes: dict[str, int] = {}

    def check(self, command: wire.Command) -> None:
        super().check(command)
        if command["command"] == "subscribe":
            # str() treats 123 and '123' alike, and lets True, 1.5 and None fail the match.
            if not re.fullmatch("-?[0-9]{1,18}", str(command.get("last_seen", -1))):
                raise wire.FieldError(command, "last_seen", "an index such as 123 or '123'")

    def send(self, command: wire.Command, client: wire.Recipient) -> None:
        command["index"] = self.indexes.get(command["topic"], 0)
        self.indexes[command["topic"]] = command["index"] + 1
        super().send(command, client)

    def unseen(self, command: wire.Command) -> list[wire.Command]:
        """The cached messages that a subscriber needs: those that came after `last_seen`."""
        last_seen = int(command.get("last_seen", -1))
        return [message for message in super().unseen(command) if message["index"] > last_seen]


if __name__ == "__main__":
    command_line.main(Server)
