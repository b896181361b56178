"""Lines end in LF alone."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_every_command_is_answered"


class Server(replies.Server):
    def encode(self, message):
        return super().encode(message).replace(b"\r", b"")
