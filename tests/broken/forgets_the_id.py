"""The answer does not repeat the `id`."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_an_id_is_repeated_in_the_answer"


class Server(replies.Server):
    def answer(self, client, command, **fields):
        super().answer(client, {}, **fields)
