"""A blank line is taken for a bad command."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_lines_may_end_in_crlf_and_blank_lines_are_ignored"


class Server(disconnects.Server):
    async def handle_client(self, reader, client):
        while line := await reader.readline():
            self.handle(line, client)
