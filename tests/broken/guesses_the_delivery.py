"""An unknown `delivery` is taken for `all`."""

from stages import disconnects

CAUGHT_BY = "test_delivery.test_any_other_delivery_is_rejected"


class Server(disconnects.Server):
    def check(self, command):
        super().check({**command, "delivery": "all"})
