"""An overlong line is cut in pieces, each taken for a line."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_an_overlong_line_is_one_error_and_the_next_line_is_understood"


class Server(disconnects.Server):
    async def handle_client(self, reader, client):
        rest = b""
        while data := await reader.read(65536):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > 65536:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self.handle(line, client)
