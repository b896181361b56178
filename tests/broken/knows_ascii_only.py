"""Letters that are not English become question marks."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_any_text_can_be_a_message_or_a_topic"


class Server(disconnects.Server):
    def send(self, command, client):
        if isinstance(command["msg"], str):
            command["msg"] = command["msg"].encode("ascii", "replace").decode()
        super().send(command, client)
