"""Lines may be longer than 64 KiB."""

from stages import disconnects, wire

CAUGHT_BY = "test_basic.test_a_line_of_64_kib_is_accepted_and_a_longer_one_is_not"


class Server(disconnects.Server):
    def handle(self, line, client):
        command = wire.decode(line, 2**20) if len(line) > wire.LIMIT else {}
        if command:
            getattr(self, command["command"])(command, client)
        else:
            super().handle(line, client)
