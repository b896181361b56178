"""Of a burst, only the first ten messages are delivered."""

import asyncio

from stages import disconnects

CAUGHT_BY = "test_basic.test_messages_arrive_in_the_order_sent"


class Server(disconnects.Server):
    burst = 0

    def send(self, command, client):
        if not self.burst:
            asyncio.get_running_loop().call_soon(setattr, self, "burst", 0)
        self.burst += 1
        if self.burst <= 10:
            super().send(command, client)
