"""A worker is given everything at once."""

from stages.beyond import acks

CAUGHT_BY = "test_acks.test_a_worker_gets_no_more_than_it_asked_for"


class Server(acks.Server):
    def subscribe(self, command, client):
        super().subscribe({name: value for name, value in command.items() if name != "prefetch"}, client)
