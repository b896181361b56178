"""Where a server listens, or each of several that pass for one.

addresses(7777, "localhost")                     ->  [("localhost", 7777)]
addresses("one:7777,two:7777", "localhost")      ->  [("one", 7777), ("two", 7777)]
"""

Address = tuple[str, int]

Where = int | str
"""A port; or addresses, with commas between."""


def addresses(where: Where, host: str) -> list[Address]:
    """What is meant by a port at `host`, or by a text. Raises ValueError if it is neither."""
    return [address(each.strip(), host) for each in str(where).split(",")]


def address(text: str, host: str) -> Address:
    named, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"no address of a server: {text!r} (expected a port from 1 to 65535, or host:port; "
            "of several, with commas between)"
        )
    return named.strip("[]") or host, int(port)
