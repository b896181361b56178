"""A command is not checked any further once its verb is known."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_a_bad_line_is_answered_with_an_error_and_the_connection_goes_on"


class Server(disconnects.Server):
    def check(self, command):
        if command.get("command") not in self.commands:
            super().check(command)
