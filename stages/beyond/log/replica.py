"""One of several that do the same: what a server makes of a log that it shares with others.

    alike = Replica(Broker(), lease=5.0), Replica(Broker(), lease=5.0)
    for record in log:
        for replica in alike:
            replica.apply(record)               # both are in the same state again

The broker is in here, and what else the servers must agree on: who of them takes part, what time it
is, which lots are drawn. All of it comes out of the log. Like the broker, this has no I/O, no clock
and no luck of its own.

Source: state machine replication (Lamport 1978, Schneider 1990); leases (Gray and Cheriton 1989).
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from stages.beyond.broker import Batch, Broker, Outgoing
from stages.beyond.broker.topic import Client, Piece
from stages.beyond.log.file import decode, encode
from stages.beyond.log.shared import Record

CLIENTS = 2**32
"""How many clients a server can number: its own number, times this, is that of its first."""


class Proposal(Struct, array_like=True):
    """What a server writes into the log: what its clients have said since its last one.

    The first says nothing but that the server is there. Proposals are numbered from 1 on, so that
    one that comes twice is done once.
    """

    server: str
    number: int
    inputs: list[tuple[Client, bytes | None]] = field(default_factory=list)
    leaves: bool = False

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode(self)


NOTHING = Proposal("", 0)
"""What somebody proposes who is no server: whoever can reach the engine can write into the log."""


class Member(Struct):
    """A server that takes part."""

    number: int  # no other server has it, or will have
    proposals: int  # how many of its proposals are done
    heard: float  # when the last one was, by the clock of the log

    @property
    def first_client(self) -> Client:
        return self.number * CLIENTS


class Applied(NamedTuple):
    """What has come of a record."""

    server: str  # that wrote it,
    number: int  # as its so many'th proposal
    parts: list[Outgoing]  # what is to be sent, in order
    answers: list[Outgoing]  # the parts of it that belong to the inputs; none if it was refused


class ReplicaPiece(Piece, tag="replica", array_like=True):
    """The part of a snapshot that is no broker's."""

    number: int
    time: float
    clock: float
    joins: int
    members: dict[str, Member]


class Replica:
    """A broker that is given the records of a log, one after the other."""

    def __init__(self, broker: Broker[Any], *, lease: float, seed: int = 0) -> None:
        self.broker = broker
        self.lease = lease
        self.seed = seed
        self.number = 0  # of the last record
        self.time = 0.0  # that the last record has from whoever keeps the log
        self.clock = 0.0
        self.joins = 0  # how many servers have ever come
        self.members: dict[str, Member] = {}

    def apply(self, record: Record) -> Applied:
        """Do what a record says. It must be the next one."""
        try:
            proposal = msgspec.msgpack.decode(record.data, type=Proposal)
        except msgspec.DecodeError:
            proposal = NOTHING
        self.advance(record)
        inputs = proposal.inputs if self.accept(proposal) else []
        leaving = list(self.those_leaving(proposal))
        self.broker.random.seed(self.seed + record.number)  # all draw the same lots
        batch = Batch(self.clock, [*inputs, *((client, None) for client in leaving)])
        parts = self.broker.carry_out(batch)
        answers = parts[1 : 1 + len(inputs)]
        return Applied(proposal.server, proposal.number, parts, answers)

    def advance(self, record: Record) -> None:
        """The log's clock goes as fast as ours, but after a silence it is slow: while those who
        keep the log elect a leader, no server can say that it is alive."""
        passed = max(0.0, record.time - self.time) if self.time else 0.0
        self.clock += min(passed, self.lease / 2)
        self.number, self.time = record.number, record.time

    def accept(self, proposal: Proposal) -> bool:
        """Whether a proposal is the next one of its server. Else it has come twice, or from a
        server that was forgotten."""
        if proposal.number == 1 and proposal.server not in self.members:
            self.members[proposal.server] = self.new_member()
        member = self.members.get(proposal.server)
        if member is None or proposal.number != member.proposals + 1:
            return False
        member.proposals, member.heard = proposal.number, self.clock
        return True

    def new_member(self) -> Member:
        self.joins += 1
        return Member(number=self.joins, proposals=0, heard=self.clock)

    def those_leaving(self, proposal: Proposal) -> Iterator[Client]:
        """Forget the servers that leave, or were silent for longer than the lease; yields their
        clients."""
        for name, member in list(self.members.items()):
            if (proposal.leaves and proposal.server == name) or (
                self.clock - member.heard > self.lease
            ):
                del self.members[name]
                yield from self.clients_of(member)

    def clients_of(self, member: Member) -> list[Client]:
        known = sorted(self.broker.topics_of)
        return [client for client in known if client // CLIENTS == member.number]

    # The whole state

    def snapshot(self) -> Iterator[bytes]:
        """The state as it is now, in pieces: see `Broker.snapshot`."""
        head = ReplicaPiece(self.number, self.time, self.clock, self.joins, self.members)
        return chain([encode(head)], map(encode, self.broker.snapshot()))

    def restore(self, piece: bytes) -> None:
        """Take in one of these pieces; this replica is new."""
        (found,) = decode(b"[%s]" % piece, ReplicaPiece | self.broker.pieces)
        if isinstance(found, ReplicaPiece):
            self.number, self.time = found.number, found.time
            self.clock, self.joins = found.clock, found.joins
            self.members = found.members
        else:
            self.broker.restore(found)
