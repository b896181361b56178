"""What one read gives is taken for whole lines."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_a_line_may_arrive_in_small_pieces"


class Server(disconnects.Server):
    async def handle_client(self, reader, client):
        while data := await reader.read(65536):
            for line in data.splitlines():
                self.handle(line, client)
