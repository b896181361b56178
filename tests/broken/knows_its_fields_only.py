"""Fields that the server does not know are not passed on."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_the_whole_command_is_delivered_with_fields_the_server_does_not_know"


class Server(disconnects.Server):
    def send(self, command, client):
        known = ("command", "topic", "msg", "delivery")
        super().send({name: command[name] for name in known if name in command}, client)
