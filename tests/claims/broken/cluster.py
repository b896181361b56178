"""Wrong servers for the claims of `cluster`."""

from typing import Any

from stages.beyond import cluster
from stages.beyond.broker import Batch
from stages.beyond.log.replica import Proposal, Replica
from stages.beyond.log.shared import Record


class OwnLots(Replica):
    """Draws from wherever its own luck has got to."""

    def apply(self, record: Record) -> Any:
        self.broker.random.seed = lambda *seed: None  # type: ignore[method-assign]
        return super().apply(record)


class NoNumber(Replica):
    """Does what comes twice again."""

    def accept(self, proposal: Proposal) -> bool:
        super().accept(proposal)
        return True


class Immortal(Replica):
    """Waits for ever for a server that is dead."""

    def those_leaving(self, proposal: Proposal) -> Any:
        self.clock, clock = 0.0, self.clock
        yield from super().those_leaving(proposal)
        self.clock = clock


class WallClock(Replica):
    """Takes the time as it comes."""

    def advance(self, record: Record) -> None:
        super().advance(record)
        self.clock = record.time


class Hasty(cluster.Server):
    """Answers before the log has it."""

    async def submit(self, client: Any, data: Any) -> Any:
        if self.order.member:
            batch = Batch(self.order.replica.clock, [(client, data)])
            for outgoing in self.broker.carry_out(batch):
                self.order.outlet.send(outgoing)
        return []


class Timers(cluster.Server):
    """Has its broker do what is due when its own timer says so."""

    def goes_off(self) -> None:
        for outgoing in self.broker.carry_out(Batch(self.time(), [])):
            self.order.outlet.send(outgoing)
