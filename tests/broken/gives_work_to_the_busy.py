"""Lots are drawn among all workers, also those who have no room."""

from stages.beyond import acks

CAUGHT_BY = "test_acks.test_work_goes_to_who_has_room"


class Server(acks.Server):
    def takers(self, command):
        return list(self.topics.get(command["topic"], ()))
