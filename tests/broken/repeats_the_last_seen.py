"""The message that was seen last is sent again."""

from stages import disconnects

CAUGHT_BY = "test_last_seen.test_a_subscriber_gets_only_what_came_after_last_seen"


class Server(disconnects.Server):
    def news(self, command, client):
        return super().news({**command, "last_seen": int(command.get("last_seen", -1)) - 1}, client)
