"""Wrong answers to the exercises of lesson 10."""

from stages.beyond import acks, fast
from stages.beyond.broker import commands
from wrong_answers import wrong_answer_to


@wrong_answer_to("turns", "alone, a client has large batches")
class AlwaysSmall(fast.Server):
    lines_in_turn = 100


@wrong_answer_to("turns", "alone, a client has large batches")
class WithoutALimit(fast.Server):
    lines_in_turn = 10_000


@wrong_answer_to("turns", "and large ones when it is alone again")
class SmallForEver(fast.Server):
    def connected(self, client, connection):
        super().connected(client, connection)
        self.lines_in_turn = 1000 if client == 1 else 100


@wrong_answer_to("turns", "also when one of them has gone")
class LargeAfterAnyEnd(fast.Server):
    gone = 0

    async def disconnect(self, client):
        await super().disconnect(client)
        self.gone += 1

    @property
    def lines_in_turn(self):
        return 1000 if self.gone or len(self.connections) == 1 else 100


@wrong_answer_to("one_answer", "an id still comes back, in order")
class LosesTheIds(fast.Broker):
    def answer_run(self, sends, client):
        answers = commands.encode({"success": True}) * len(sends)
        self.outgoing.append(((client,), [answers]))


@wrong_answer_to("one_answer", "1000 messages are answered")
class OneForTheWholeRun(fast.Broker):
    def answer_run(self, sends, client):
        if any(send.id is not commands.UNSET for send in sends):
            return super().answer_run(sends, client)
        self.outgoing.append(((client,), [commands.encode({"success": True})]))


@wrong_answer_to("one_answer", "an id still comes back, in order")
class TheOnesWithoutFirst(fast.Broker):
    def answer_run(self, sends, client):
        named = [send for send in sends if send.id is not commands.UNSET]
        plain = commands.encode({"success": True}) * (len(sends) - len(named))
        self.outgoing.append(((client,), [plain]))
        if named:
            super().answer_run(named, client)


@wrong_answer_to("one_answer", "also if all have one")
class OnlyTheFirstId(fast.Broker):
    def answer_run(self, sends, client):
        if any(send.id is commands.UNSET for send in sends):
            if any(send.id is not commands.UNSET for send in sends):
                return super().answer_run(sends, client)
            return self.outgoing.append(
                ((client,), [commands.encode({"success": True}) * len(sends)])
            )
        first = {"success": True, "id": sends[0].id}
        self.outgoing.append(((client,), [commands.encode(first) * len(sends)]))


class Together(acks.Broker):
    def handle_lines(self, client, data):
        super().handle_lines(client, data)
        outgoing, self.outgoing = self.outgoing, []
        self.join(client, outgoing)

    def put(self, run, to):
        if run:
            self.outgoing.append((to, [commands.encode_all(run)]))

    def is_answer(self, what):
        return isinstance(what[0], dict)


@wrong_answer_to("together", "50 messages for five readers are encoded")
class OneByOne(Together):
    def join(self, client, outgoing):
        self.outgoing = outgoing


@wrong_answer_to("together", "every reader gets all of them, in order")
class OnlyTheLast(Together):
    def join(self, client, outgoing):
        messages = [each for each in outgoing if not self.is_answer(each[1])]
        self.outgoing = [*messages[-1:], *[each for each in outgoing if self.is_answer(each[1])]]


@wrong_answer_to("together", "each is answered")
class ForgetsTheAnswers(Together):
    def join(self, client, outgoing):
        messages = [each for each in outgoing if not self.is_answer(each[1])]
        if len(messages) < 10:
            self.outgoing = outgoing
        else:
            self.put([each for _, what in messages for each in what], messages[0][0])
            answers = [each for each in outgoing if self.is_answer(each[1])]
            self.outgoing += [each for each in answers if not each[1][0]["success"]]


@wrong_answer_to("together", "also of topics in turn")
class SortsByRecipients(Together):
    def join(self, client, outgoing):
        runs = {}
        for clients, what in outgoing:
            if not self.is_answer(what):
                runs.setdefault(tuple(clients), []).extend(what)
        for to, run in runs.items():
            self.put(run, to)
        self.outgoing += [each for each in outgoing if self.is_answer(each[1])]


@wrong_answer_to("turns", "and large ones when it is alone again")
class KnowsTheFirstClient(fast.Server):
    @property
    def lines_in_turn(self):
        return 1000 if list(self.connections) == [1] else 100


@wrong_answer_to("one_answer", "whatever it is")
class EmptyIdsAreNone(fast.Broker):
    def answer_run(self, sends, client):
        if any(send.id for send in sends if send.id is not commands.UNSET):
            return super().answer_run(sends, client)
        self.outgoing.append(((client,), [commands.encode({"success": True}) * len(sends)]))
