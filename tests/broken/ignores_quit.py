"""On quit, the connection goes on."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_quit_ends_the_connection_and_what_follows_is_not_read"


class Server(disconnects.Server):
    async def handle_client(self, reader, client):
        while line := await reader.readline():
            if line.strip() not in (b"", b"quit"):
                self.handle(line, client)
