"""Make a user: its token, which is shown once, and its lines for the file of users.

    $ python -m stages.beyond.secure new-user alice --send jobs >> users.toml
    the token of alice, which nobody can tell again: dLM6…

Source: how services hand out API keys: whoever keeps the file cannot say them.
"""

import os
import sys

from stages import command_line
from stages.beyond.door import users


def new_user(arguments: list[str]) -> None:
    """Print the token of a new user on stderr, once, and the lines for the file of users."""
    parser = command_line.Parser(prog="stages.beyond.secure new-user", description=new_user.__doc__)
    parser.add_argument("name")
    for right in ("send", "subscribe"):
        parser.add_argument(
            f"--{right}", nargs="+", default=[], metavar="TOPIC", help="`news/*`: all that begin so"
        )
    chosen = parser.parse_args(arguments)
    if not chosen.name.strip() or not chosen.name.isprintable():
        parser.error(f"{chosen.name!r} is no name: expected one that can be read, such as alice")
    for topic in chosen.send + chosen.subscribe:
        if not topic.isprintable():
            parser.error(f"{topic!r} cannot be written into the file: expected what can be read")
    token = users.new_token()
    try:
        print(users.entry(chosen.name, token, chosen.send, chosen.subscribe), flush=True)
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        parser.exit(1, f"{parser.prog}: cannot write the user: {problem}\n")
    print(f"the token of {chosen.name}, which nobody can tell again: {token}", file=sys.stderr)
