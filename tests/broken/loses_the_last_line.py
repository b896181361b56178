"""A last line without its newline is not carried out."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_end_of_file_ends_the_connection_after_a_last_line_without_newline"


class Server(disconnects.Server):
    async def handle_client(self, reader, client):
        while (line := await reader.readline()).endswith(b"\n"):
            self.handle(line, client)
