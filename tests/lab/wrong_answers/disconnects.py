"""Wrong answers to the exercises of lesson 5."""

from stages import disconnects, last_seen, wire
from wrong_answers import wrong_answer_to


def tell_left(server, topics):
    for topic in topics:
        for other in server.topics.get(topic, {}):
            other.write(wire.encode({"left": topic}))


@wrong_answer_to("farewell", "it runs to the end")
class ExpectsASubscription(disconnects.Server):
    def disconnect(self, client):
        topics = self.topics_of[client]
        super().disconnect(client)
        tell_left(self, topics)


@wrong_answer_to("farewell", "those that share topics are told of each")
class OneTopicOnly(disconnects.Server):
    def disconnect(self, client):
        topics = list(self.topics_of.get(client, ()))[:1]
        super().disconnect(client)
        tell_left(self, topics)


@wrong_answer_to("farewell", "the others are not")
class TellsEverybody(disconnects.Server):
    def disconnect(self, client):
        topics = self.topics_of.get(client, set())
        super().disconnect(client)
        for topic in topics:
            for other in self.topics_of:
                other.write(wire.encode({"left": topic}))


@wrong_answer_to("farewell", "and the server keeps no subscription of those that left")
class TellsAndForgetsNothing(disconnects.Server):
    def disconnect(self, client):
        tell_left(self, self.topics_of.get(client, ()))


@wrong_answer_to("farewell", "a client that never subscribed leaves quietly")
class TellsOfAll(disconnects.Server):
    def disconnect(self, client):
        super().disconnect(client)
        tell_left(self, list(self.topics))


class LastWill(disconnects.Server):
    commands = (*disconnects.Server.commands, "will")

    def __init__(self, **settings):
        super().__init__(**settings)
        self.wills = {}

    def check(self, command):
        if command.get("command") == "will":
            command = {**command, "command": "send"}
        super().check(command)

    def will(self, command, client):
        self.wills[client] = {**command, "command": "send"}

    def disconnect(self, client):
        super().disconnect(client)
        if client in self.wills:
            self.carry_out_will(self.wills.pop(client), client)

    def carry_out_will(self, will, client):
        self.send(will, client)


@wrong_answer_to("last_will", "it is sent once the client has broken off")
class OneForAllClients(LastWill):
    def will(self, command, client):
        self.wills = {client: {**command, "command": "send"}}


@wrong_answer_to("last_will", "as a message like any other")
class StillCalledWill(LastWill):
    def will(self, command, client):
        self.wills[client] = command


@wrong_answer_to("last_will", "as a message like any other")
class NotNumbered(LastWill):
    def carry_out_will(self, will, client):
        self.deliver(will, self.recipients(will))


@wrong_answer_to("last_will", "or said quit; each once")
class NotAtQuit(LastWill):
    async def handle_client(self, reader, client):
        await last_seen.Server.handle_client(self, QuitSeen(reader, self, client), client)
        self.disconnect(client)


class QuitSeen:
    def __init__(self, reader, server, client):
        self.reader, self.server, self.client = reader, server, client

    async def read(self, size):
        data = await self.reader.read(size)
        if b"quit" in data:
            self.server.wills.pop(self.client, None)
        return data


@wrong_answer_to("last_will", "and kept secret")
class SentAtOnce(LastWill):
    def will(self, command, client):
        super().will(command, client)
        self.send(dict(self.wills[client]), client)


@wrong_answer_to("last_will", "a client without one leaves quietly")
class SentForOthers(LastWill):
    def disconnect(self, client):
        disconnects.Server.disconnect(self, client)
        for will in list(self.wills.values()):
            self.send(dict(will), client)
        self.wills.pop(client, None)


@wrong_answer_to("last_will", "one without a message is refused")
class TakesAnyWill(LastWill):
    def check(self, command):
        disconnects.Server.check(self, command)


@wrong_answer_to("farewell", "a farewell is no message: nobody hears it later")
class SendsFarewells(disconnects.Server):
    def disconnect(self, client):
        topics = self.topics_of.get(client, set())
        super().disconnect(client)
        for topic in topics:
            self.send({"command": "send", "topic": topic, "msg": None, "left": topic}, client)
