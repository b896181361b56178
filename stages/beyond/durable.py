"""Whatever was acknowledged to the sender survives a crash.

    bob   > {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all"}
    bob   < {"success": true}
            the server is killed, and started again
    alice > {"command": "subscribe", "topic": "foo"}
    alice < {"success": true}
    alice < {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all", "index": 0}

The broker does what clients say; the log remembers what they said; and only then the server sends
what comes of it: see `journal.py`.

Source: write-ahead and group commit, as in any database.
"""

from dataclasses import dataclass

from stages import command_line, settings
from stages.beyond import acks
from stages.beyond.log.file import Log
from stages.beyond.log.journal import Journal


@dataclass(eq=False)
class Server(acks.Server):
    """A server that keeps a log in the file `data`."""

    # Tried with the cache of the earlier stages, whose tests it has to pass, too.
    cache_length: int = settings.setting(
        10_000, "messages kept of each topic", at_least=0, trial=100
    )
    data: str = settings.setting("messages.db", "the file that keeps the messages")
    log_limit: int = settings.setting(
        2**26, "bytes of log after which a snapshot replaces it", at_least=1
    )

    lines_in_turn = 500  # each turn costs a commit

    def __post_init__(self) -> None:
        super().__post_init__()
        file = Log(self.data)
        self.sequencer = self.journal = Journal(
            self.broker, file, self, log_limit=self.log_limit, time=self.time
        )


if __name__ == "__main__":
    command_line.main(Server)
