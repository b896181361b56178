"""A bad line ends the connection."""

from stages import disconnects, wire

CAUGHT_BY = "test_basic.test_a_bad_line_is_answered_with_an_error_and_the_connection_goes_on"


class Server(disconnects.Server):
    def handle(self, line, client):
        self.check(wire.decode(line))
        super().handle(line, client)
