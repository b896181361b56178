"""Without `delivery`, a message goes to one."""

from stages import disconnects

CAUGHT_BY = "test_delivery.test_all_delivery_is_the_default"


class Server(disconnects.Server):
    def recipients(self, command):
        return super().recipients({"delivery": "one", **command})
