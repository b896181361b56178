"""At the end of file, the connection stays open for ever."""

import asyncio

from stages import disconnects

CAUGHT_BY = "test_basic.test_end_of_file_ends_the_connection_after_a_last_line_without_newline"


class Server(disconnects.Server):
    async def handle_client(self, reader, client):
        await super().handle_client(reader, client)
        await asyncio.Event().wait()
