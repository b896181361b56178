"""Every index that is not in the cache counts as missed."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_a_message_that_somebody_else_was_given_is_not_missed"


class Server(replies.Server):
    def missed(self, command):
        topic = command["topic"]
        after = self.indexes.get(topic, 0) - 1 - command.get("last_seen", self.indexes.get(topic, 0))
        return max(0, after - len(self.caches.get(topic, ())))
