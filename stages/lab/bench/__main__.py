"""Measure the stages, and the peers that are installed here, side by side.

    $ python -m stages.lab.bench
    $ python -m stages.lab.bench last_seen fast Redis --works 1 trip --rounds 5

Each round starts every server afresh, one after the other, so what disturbs the machine disturbs
all of them alike. Believe the ratios; the figures are this machine's, today.
"""

import sys
from pathlib import Path

from tqdm import tqdm

from stages.command_line import Parser
from stages.lab.bench.results import OWN, Run, from_rounds, versions_here
from stages.lab.bench.servers import SERVERS, NotStarted, version_of
from stages.lab.bench.works import WORKS, wire_for

Pair = tuple[str, str]
"""A work and a server."""

FEW, MOST = 4000, 2_000_000
"""How many messages are sent to find out how many take a second; and how many it may be."""


def parser() -> Parser:
    parser = Parser(prog="stages.lab.bench", description=__doc__)
    parser.add_argument("servers", nargs="*", help=f"of: {', '.join(SERVERS)} (default: all)")
    parser.add_argument("--works", nargs="+", default=["1", "trip"], help=", ".join(WORKS))
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--base", default="Redis", help="what others are compared with")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        default=OWN,
        help="where to keep the figures, for lesson 10 (default: %(default)s)",
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw a PNG")
    return parser


def measure(pair: Pair, number: int) -> list[float]:
    work, server = pair
    wire = wire_for(server, work)
    assert wire
    return WORKS[work].measure(server, wire, number)


def numbers(pairs: list[Pair]) -> dict[Pair, int]:
    """How many messages each work takes with each server, for about a second."""
    found = {}
    for pair in tqdm(pairs, desc="finding out how many", unit="run"):
        fixed = WORKS[pair[0]].number
        found[pair] = fixed or min(MOST, max(FEW, int(measure(pair, 5 * FEW)[0])))
    return found


def run(pairs: list[Pair], rounds: int) -> Run:
    chosen = numbers(pairs)
    results: dict[Pair, list[list[float]]] = {pair: [] for pair in pairs}
    for pair in tqdm(pairs * rounds, desc="measuring", unit="run"):
        results[pair].append(measure(pair, chosen[pair]))
    versions = {server: version_of(SERVERS[server]) for _, server in pairs}
    made = Run(rounds, versions_here(versions))
    for (work, server), values in results.items():
        made.figures.setdefault(work, {})[server] = from_rounds(values)
    return made


def main() -> None:
    arguments = parser()
    chosen = arguments.parse_args()
    for name, known in [(each, SERVERS) for each in chosen.servers] + [
        (each, WORKS) for each in chosen.works
    ]:
        if name not in known:
            arguments.error(f"expected one of {', '.join(known)}: got {name!r}")
    if chosen.rounds < 1:
        arguments.error(f"rounds must be at least 1: got {chosen.rounds}")
    for path in filter(None, (chosen.save, chosen.picture)):
        if not path.absolute().parent.is_dir():  # said before, and not after, all is measured
            arguments.error(f"there is no folder {path.absolute().parent}")
    asked = chosen.servers or list(SERVERS)
    missing = {name: why for name in asked if (why := SERVERS[name].why_not())}
    for name, why in missing.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    here = [name for name in asked if name not in missing]
    pairs = [(work, name) for work in chosen.works for name in here if wire_for(name, work)]
    if not pairs:
        arguments.error("none of these servers can do any of these works")
    try:
        made = run(pairs, chosen.rounds)
    except NotStarted as problem:
        arguments.exit(1, f"{arguments.prog}: {problem}\n")
    except KeyboardInterrupt:
        sys.exit(130)
    print(made.table(chosen.base))
    made.save(chosen.save)
    if chosen.picture:
        chosen.picture.write_bytes(made.picture(chosen.works[0]).data)


if __name__ == "__main__":
    main()
