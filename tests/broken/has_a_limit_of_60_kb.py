"""Lines may have 60,000 bytes, and no more."""

from stages import disconnects, wire

CAUGHT_BY = "test_basic.test_a_line_of_64_kib_is_accepted_and_a_longer_one_is_not"


class Server(disconnects.Server):
    def handle(self, line, client):
        if len(line) > 60_000:
            client.write(wire.encode({"error": "line too long"}))
        else:
            super().handle(line, client)
