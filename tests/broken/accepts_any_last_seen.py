"""A `last_seen` that is no number is taken for none."""

from stages import disconnects

CAUGHT_BY = "test_last_seen.test_a_bad_last_seen_is_rejected_and_subscribes_nobody"


class Server(disconnects.Server):
    def check(self, command):
        if command.get("command") == "subscribe" and not isinstance(command.get("last_seen"), int | str):
            command.pop("last_seen", None)
        super().check(command)
