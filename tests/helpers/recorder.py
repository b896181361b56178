"""A client without a network."""


class Recorder:
    """A client without a network: all that the queue asks for."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)
