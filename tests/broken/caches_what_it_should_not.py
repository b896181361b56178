"""A message with `cache` false is cached all the same."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_what_is_not_to_be_cached_reaches_only_who_is_there"


class Server(replies.Server):
    def keep(self, message):
        super().keep({**message, "cache": True})
