"""Wrong answers to the exercises of lesson 11."""

import random
import zlib

from stages.beyond import cluster
from stages.beyond.log.replica import Member, Replica
from wrong_answers import wrong_answer_to


@wrong_answer_to("replica", "what comes twice is done once")
class TakesAll(Replica):
    def accept(self, proposal):
        super().accept(proposal)
        return True


@wrong_answer_to("replica", "and the next after it again")
class AnyLaterNumber(Replica):
    def accept(self, proposal):
        member = self.members.setdefault(proposal.server, self.new_member())
        accepted = proposal.number > member.proposals
        member.proposals += 1
        member.heard = self.clock
        return accepted


@wrong_answer_to("replica", "nothing is done for who has not begun")
class BeginsAnywhere(Replica):
    def accept(self, proposal):
        new = Member(self.number, proposal.number - 1, self.clock)
        self.members.setdefault(proposal.server, new)
        return super().accept(proposal)


@wrong_answer_to("replica", "the next one is done")
class OnlyTheFirst(Replica):
    def accept(self, proposal):
        return super().accept(proposal) and proposal.number == 1


@wrong_answer_to("replica", "its clock may be set back; ours is not")
class FollowsTheClock(Replica):
    def advance(self, record):
        self.clock += record.time - self.time if self.time else 0.0
        self.number, self.time = record.number, record.time


@wrong_answer_to("replica", "a silence of the log buries nobody")
class BuriesAll(Replica):
    def advance(self, record):
        self.clock += max(0, record.time - self.time) if self.time else 0.0
        self.number, self.time = record.number, record.time


@wrong_answer_to("replica", "a second and a half of the log is as much for us")
class NoTime(Replica):
    def advance(self, record):
        self.number = record.number


@wrong_answer_to("replica", "a server that is silent for a lease is forgotten")
class HearsTheWrongOne(Replica):
    def accept(self, proposal):
        accepted = super().accept(proposal)
        for member in self.members.values():
            member.heard = self.clock
        return accepted


@wrong_answer_to("leader", "whoever comes later does not")
class ByName(Replica):
    @property
    def leader(self):
        return min(self.members, default=None)


@wrong_answer_to("leader", "not even by writing more")
class WritesMost(Replica):
    @property
    def leader(self):
        return max(self.members, key=lambda name: self.members[name].proposals, default=None)


@wrong_answer_to("leader", "when it leaves, the next one leads")
class ForEver(Replica):
    leader = None

    def accept(self, proposal):
        self.leader = self.leader or proposal.server
        return super().accept(proposal)


@wrong_answer_to("leader", "whoever comes later does not")
class TheLast(Replica):
    @property
    def leader(self):
        return max(self.members, key=lambda name: self.members[name].number, default=None)


@wrong_answer_to("leader", "one that begins with a snapshot agrees")
class Remembers(Replica):
    def __init__(self, *broker, **settings):
        super().__init__(*broker, **settings)
        self.order = []

    @property
    def leader(self):
        return next((name for name in self.order if name in self.members), None)

    def accept(self, proposal):
        self.order += [proposal.server] if proposal.number == 1 else []
        return super().accept(proposal)


@wrong_answer_to("leader", "where nobody is, nobody leads")
class Nameless(Replica):
    @property
    def leader(self):
        return min(self.members, key=lambda name: self.members[name].number, default="")


@wrong_answer_to("spread", "and the same in another process")
class Hash(cluster.Server):
    def log_of(self, topic, logs):
        return hash(topic) % logs


@wrong_answer_to("spread", "asked again, the same")
class AnyLog(cluster.Server):
    def log_of(self, topic, logs):
        return random.randrange(logs)


@wrong_answer_to("spread", "it is one of the logs")
class FirstLog(cluster.Server):
    def log_of(self, topic, logs):
        return 0


@wrong_answer_to("spread", "it is one of the logs")
class NoModulo(cluster.Server):
    def log_of(self, topic, logs):
        return zlib.crc32(topic.encode(errors="surrogatepass"))


@wrong_answer_to("spread", "each log has its share")
class ByLength(cluster.Server):
    def log_of(self, topic, logs):
        return (len(topic) + topic.endswith("00")) % logs


@wrong_answer_to("spread", "also of names that are much alike")
class FirstLetters(cluster.Server):
    def log_of(self, topic, logs):
        return zlib.crc32(topic[:12].encode(errors="surrogatepass")) % logs


@wrong_answer_to("spread", "it runs to the end")
class NotEveryName(cluster.Server):
    def log_of(self, topic, logs):
        return zlib.crc32(topic.encode()) % logs
