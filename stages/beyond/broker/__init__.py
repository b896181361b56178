"""The rules of the queue: commands of clients go in, and what is to be sent to whom comes out. No
I/O, no clock, no asyncio."""

from stages.beyond.broker.broker import Batch, Broker, BrokerPiece, Kept, Outgoing
from stages.beyond.broker.rules import Rules

__all__ = ["Batch", "Broker", "BrokerPiece", "Kept", "Outgoing", "Rules"]
