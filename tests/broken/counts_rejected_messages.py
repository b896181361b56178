"""A rejected message uses up an index."""

from stages import disconnects

CAUGHT_BY = "test_last_seen.test_a_rejected_message_uses_up_no_index"


class Server(disconnects.Server):
    def check(self, command):
        try:
            super().check(command)
        except ValueError:
            topic = command.get("topic")
            self.indexes[topic] = self.indexes.get(topic, 0) + 1
            raise
