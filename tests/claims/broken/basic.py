"""Wrong servers, each caught by a claim of `test_basic`."""

import asyncio
import contextlib

from broken import caught_by
from stages import connection, disconnects, wire


@caught_by("test_a_message_reaches_every_subscriber_of_its_topic")
class DeliversTwice(disconnects.Server):
    """Everybody gets each message twice."""

    def recipients(self, command):
        return [*super().recipients(command)] * 2


@caught_by("test_a_message_reaches_nobody_else")
class DeliversToEverybody(disconnects.Server):
    """A message goes to the subscribers of all topics."""

    def recipients(self, command):
        return {client for clients in self.topics.values() for client in clients}


@caught_by("test_messages_arrive_in_the_order_sent")
class DropsOnBurst(disconnects.Server):
    """Of a burst, only the first ten messages are delivered."""

    burst = 0

    def send(self, command, client):
        if not self.burst:
            asyncio.get_running_loop().call_soon(setattr, self, "burst", 0)
        self.burst += 1
        if self.burst <= 10:
            super().send(command, client)


@caught_by("test_messages_arrive_in_the_order_sent")
class SwapsOrder(disconnects.Server):
    """What is sent in one burst arrives in reverse."""

    burst = ()

    def send(self, command, client):
        if not self.burst:
            asyncio.get_running_loop().call_soon(self.flush)
        self.burst = ((command, client), *self.burst)

    def flush(self):
        burst, self.burst = self.burst, ()
        for command, client in burst:
            super().send(command, client)


@caught_by("test_a_sender_that_subscribed_hears_itself")
class DoesNotEcho(disconnects.Server):
    """A sender does not get its own messages."""

    def send(self, command, client):
        self.deliver(command, [other for other in self.recipients(command) if other is not client])


@caught_by("test_subscribing_twice_does_not_deliver_twice")
class SubscribesTwice(disconnects.Server):
    """Subscribing twice delivers twice."""

    def __init__(self):
        super().__init__()
        self.subscribed = []

    def subscribe(self, command, client):
        super().subscribe(command, client)
        self.subscribed.append((command["topic"], client))

    def recipients(self, command):
        return [client for topic, client in self.subscribed if topic == command["topic"]]


@caught_by("test_the_whole_command_is_delivered_with_fields_the_server_does_not_know")
class KnowsItsFieldsOnly(disconnects.Server):
    """Fields that the server does not know are not passed on."""

    def send(self, command, client):
        known = ("command", "topic", "msg", "delivery")
        super().send({name: command[name] for name in known if name in command}, client)


@caught_by("test_any_text_can_be_a_message_or_a_topic")
class KnowsAsciiOnly(disconnects.Server):
    """Letters that are not English become question marks."""

    def send(self, command, client):
        if isinstance(command["msg"], str):
            command["msg"] = command["msg"].encode("ascii", "replace").decode()
        super().send(command, client)


@caught_by("test_any_literal_can_be_a_message")
class TurnsMessagesIntoText(disconnects.Server):
    """Every message becomes a string, save the numbers."""

    def send(self, command, client):
        if not isinstance(command["msg"], int):
            command["msg"] = str(command["msg"])
        super().send(command, client)


@caught_by("test_lines_may_end_in_crlf_and_blank_lines_are_ignored")
class AnswersBlankLines(disconnects.Server):
    """A blank line is taken for a bad command."""

    async def handle_client(self, reader, client):
        while line := await reader.readline():
            self.handle(line, client)


@caught_by("test_a_line_may_arrive_in_small_pieces")
class TakesAReadForALine(disconnects.Server):
    """What one read gives is taken for whole lines."""

    async def handle_client(self, reader, client):
        while data := await reader.read(65536):
            for line in data.splitlines():
                self.handle(line, client)


@caught_by("test_quit_ends_the_connection_and_what_follows_is_not_read")
class IgnoresQuit(disconnects.Server):
    """On quit, the connection goes on."""

    async def handle_client(self, reader, client):
        while line := await reader.readline():
            if line.strip() not in (b"", b"quit"):
                self.handle(line, client)


@caught_by("test_end_of_file_ends_the_connection_after_a_last_line_without_newline")
class HangsAtEndOfFile(disconnects.Server):
    """At the end of file, the connection stays open for ever."""

    async def handle_client(self, reader, client):
        await super().handle_client(reader, client)
        await asyncio.Event().wait()


@caught_by("test_end_of_file_ends_the_connection_after_a_last_line_without_newline")
class LosesTheLastLine(disconnects.Server):
    """A last line without its newline is not carried out."""

    async def handle_client(self, reader, client):
        while (line := await reader.readline()).endswith(b"\n"):
            self.handle(line, client)


@caught_by("test_a_bad_line_is_answered_with_an_error_and_the_connection_goes_on")
class AcceptsBadCommands(disconnects.Server):
    """A command is not checked any further once its verb is known."""

    def check(self, command):
        if command.get("command") not in self.commands:
            super().check(command)


@caught_by("test_a_bad_line_is_answered_with_an_error_and_the_connection_goes_on")
class ClosesOnError(disconnects.Server):
    """A bad line ends the connection."""

    def handle(self, line, client):
        self.check(wire.decode(line))
        super().handle(line, client)


@caught_by("test_a_bad_line_is_answered_with_an_error_and_the_connection_goes_on")
class IsSilentOnError(disconnects.Server):
    """A bad line is not answered."""

    def handle(self, line, client):
        with contextlib.suppress(wire.Error):
            self.check(wire.decode(line))
            super().handle(line, client)


@caught_by("test_a_line_that_is_no_text_or_no_literal_is_answered_like_any_other_bad_one")
class BreaksOffAtNesting(disconnects.Server):
    """A line that is nested too deeply for the parser ends the connection."""

    def handle(self, line, client):
        if line.startswith(b"[[["):
            raise RecursionError
        super().handle(line, client)


@caught_by("test_a_line_of_64_kib_is_accepted_and_a_longer_one_is_not")
class HasALimitOf60Kb(disconnects.Server):
    """Lines may have 60,000 bytes, and no more."""

    def handle(self, line, client):
        if len(line) > 60_000:
            client.write(wire.encode({"error": "line too long"}))
        else:
            super().handle(line, client)


@caught_by("test_an_overlong_line_is_one_error_and_the_next_line_is_understood")
class CutsOverlongLines(disconnects.Server):
    """An overlong line is cut in pieces, each taken for a line."""

    async def handle_client(self, reader, client):
        rest = b""
        while data := await reader.read(65536):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > 65536:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self.handle(line, client)


@caught_by("test_an_overlong_line_that_never_ends_is_one_error")
class LosesAnOverlongLastLine(disconnects.Server):
    """A line that is too long, and does not end, is not answered."""

    async def handle_client(self, reader, client):
        async for line in connection.read_lines(reader):
            if len(line) <= wire.LIMIT or not reader.at_eof():
                self.handle(line, client)


@caught_by("test_clients_that_break_off_do_not_disturb_the_others")
class StopsAtADeadClient(disconnects.Server):
    """Once a recipient is gone, those after it get nothing, either."""

    def deliver(self, message, recipients):
        for recipient in reversed(list(recipients)):
            if recipient.closing:
                return
            recipient.write(wire.encode(message))

    def disconnect(self, client):
        pass


@caught_by("test_nothing_that_a_browser_posts_is_carried_out")
class TakesHttpForBadLines(disconnects.Server):
    """It listens by itself, and nobody looks at the first line."""

    @contextlib.asynccontextmanager
    async def listening(self):
        tasks = []

        async def connected(reader, writer):
            tasks.append(asyncio.current_task())
            await self.handle_client(reader, connection.Connection(writer))
            writer.close()

        async with await asyncio.start_server(connected, "127.0.0.1", 0) as listener:
            yield listener.sockets[0].getsockname()[1]
            await asyncio.gather(*tasks)  # its clients have left
