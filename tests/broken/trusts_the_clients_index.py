"""An index that a client sends is kept."""

from stages import disconnects

CAUGHT_BY = "test_last_seen.test_the_index_is_the_servers_whatever_a_client_sends"


class Server(disconnects.Server):
    def send(self, command, client):
        if "index" in command:
            self.indexes[command["topic"]] = command["index"]
        super().send(command, client)
