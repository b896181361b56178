"""Messages carry no index."""

from stages import disconnects, wire

CAUGHT_BY = "test_last_seen.test_messages_are_numbered_from_0_in_each_topic_whatever_their_delivery"


class Server(disconnects.Server):
    def recipients(self, command):
        recipients = super().recipients(command)
        line = wire.encode({name: value for name, value in command.items() if name != "index"})
        for recipient in recipients:
            recipient.write(line)
        return []
