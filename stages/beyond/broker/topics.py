"""All topics of a broker, and a snapshot of them that is taken while the broker goes on.

    pieces = topics.snapshot()
    topics["foo"]                       is copied first: whoever comes to it may change it
    list(pieces)                        all topics as they were, in small pieces

Source: copy on write, as Redis has it from the operating system when it forks to save.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from stages.beyond.broker.topic import Piece, Topic

TopicT = TypeVar("TopicT", bound=Topic)


class Topics(Mapping[str, TopicT]):
    """Topics by name. There is no way to one that goes past `__getitem__`, also not through
    `values()`: so nothing can change behind a snapshot's back."""

    def __init__(self, new_topic: Callable[[str], TopicT]) -> None:
        self.new_topic = new_topic
        self.by_name: dict[str, TopicT] = {}
        self.uncopied: dict[str, TopicT] = {}  # what a snapshot that is under way still has to copy
        self.copied: deque[Iterator[Piece]] = deque()  # what it has copied, and not yet given out

    def __getitem__(self, name: str) -> TopicT:
        topic = self.by_name[name]
        if name in self.uncopied:
            self.copied.append(self.uncopied.pop(name).pieces())
        return topic

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def named(self, name: str) -> TopicT:
        """The topic of that name, a new one if there is none."""
        if name not in self.by_name:
            self.by_name[name] = self.new_topic(name)
        return self[name]

    def snapshot(self) -> Iterator[Piece]:
        """The topics as they are now. Only one snapshot can be under way."""
        self.uncopied = dict(self.by_name)
        self.copied.clear()
        return self.next_pieces()

    def next_pieces(self) -> Iterator[Piece]:
        while self.copied or self.uncopied:
            if not self.copied:
                self.copied.append(self.uncopied.popitem()[1].pieces())
            yield from self.copied.popleft()
