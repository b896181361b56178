"""Fields that no command has are ignored."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_a_bad_line_is_answered_with_the_reason_and_the_connection_goes_on"


class Server(replies.Server):
    def check(self, command):
        if isinstance(command, dict):
            command.pop("extra", None)
        super().check(command)
