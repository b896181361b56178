"""A message for one always goes to the first subscriber."""

from stages import disconnects

CAUGHT_BY = "test_delivery.test_one_delivery_is_drawn_uniformly"


class Server(disconnects.Server):
    def recipients(self, command):
        everybody = super().recipients({**command, "delivery": "all"})
        return list(everybody)[:1] if command.get("delivery") == "one" else everybody
