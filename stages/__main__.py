"""`python -m stages` prints the table of contents, with the command that runs each stage; and
`stages`, once installed, has the same programs as commands.

    $ stages serve last_seen 7777
    $ stages client 7777 subscribe foo
    $ stages judge my_server.py
    $ stages learn lessons
"""

import runpy
import sys
from typing import NoReturn

from stages import STAGES, __version__

MODULES = {"client": "stages.client", "judge": "stages.lab.judge", "learn": "stages.lab"}
SERVERS = {name.rpartition(".")[2]: f"stages.{name}" for name in STAGES}


def main() -> None:
    match sys.argv[1:]:
        case []:
            for name, promise in STAGES.items():
                print(f"python -m stages.{name} 7777".ljust(45) + promise)
        case ["-h" | "--help"]:
            print(__doc__)
        case ["--version"]:
            print(__version__)
        case ["serve", name, *rest] if name in SERVERS:
            run(SERVERS[name], rest)
        case [command, *rest] if command in MODULES:
            run(MODULES[command], rest)
        case ["serve", *_]:
            complain(f"expected serve and a stage: {', '.join(SERVERS)}")
        case _:
            complain(f"expected serve, {', '.join(MODULES)} or nothing")


def complain(problem: str) -> NoReturn:
    print(f"stages: {problem}", file=sys.stderr)
    sys.exit(2)


def run(module: str, arguments: list[str]) -> None:
    """As `python -m MODULE ARGUMENTS` does."""
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
