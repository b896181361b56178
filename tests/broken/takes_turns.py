"""Messages for one go to the subscribers by turns, not by lot."""

from stages import disconnects

CAUGHT_BY = "test_delivery.test_one_delivery_is_drawn_uniformly"


class Server(disconnects.Server):
    def recipients(self, command):
        subscribers = self.topics.get(command["topic"], {})
        if command.get("delivery") != "one" or not subscribers:
            return subscribers
        first = next(iter(subscribers))
        subscribers[first] = subscribers.pop(first)
        return [first]
