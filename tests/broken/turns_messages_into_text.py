"""Every message becomes a string, save the numbers."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_any_literal_can_be_a_message"


class Server(disconnects.Server):
    def send(self, command, client):
        if not isinstance(command["msg"], int):
            command["msg"] = str(command["msg"])
        super().send(command, client)
