"""What is sent in one burst arrives in reverse."""

import asyncio

from stages import disconnects

CAUGHT_BY = "test_basic.test_messages_arrive_in_the_order_sent"


class Server(disconnects.Server):
    burst = ()

    def send(self, command, client):
        if not self.burst:
            asyncio.get_running_loop().call_soon(self.flush)
        self.burst = ((command, client), *self.burst)

    def flush(self):
        burst, self.burst = self.burst, ()
        for command, client in burst:
            super().send(command, client)
