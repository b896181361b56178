"""Judge servers by the project's shared tests, stage by stage.

    $ python -m stages.lab.judge my_server.py                    a file with a class `Server`
    $ python -m stages.lab.judge package.module:Class --until caching
    $ python -m stages.lab.judge localhost:7777                  whatever listens there
    $ python -m stages.lab.judge class/*.py                      many: a table

It ends with 0 if every claim holds, with 1 if one does not, and with 2 if there is nothing to
judge.
"""

import dataclasses
import json
import sys
from typing import Any, NamedTuple

from tqdm import tqdm

from stages.command_line import Parser
from stages.lab.judging.claims import Claim, outcome, verdict
from stages.lab.judging.shared_tests import NAMES, CannotJudge, run_tests
from stages.lab.workbench.reading import aligned


class Judgement(NamedTuple):
    """What came of judging a target: claims, or why there are none."""

    target: str
    claims: list[Claim]
    problem: str = ""

    @property
    def outcome(self) -> str:
        return "not judged" if self.problem else outcome(self.claims)

    @property
    def holds(self) -> bool:
        return not self.problem and all(claim.held for claim in self.claims)

    def of(self, stage: str) -> list[Claim]:
        return [claim for claim in self.claims if claim.stage == stage]

    def as_json(self, stages: list[str]) -> dict[str, Any]:
        return {
            "target": self.target,
            "verdict": self.outcome,
            "problem": self.problem,
            "stages": {stage: score(self.of(stage)) for stage in stages},
            "claims": [dataclasses.asdict(claim) | {"held": claim.held} for claim in self.claims],
        }


def judge(target: str, until: str) -> Judgement:
    try:
        return Judgement(target, run_tests(target, until))
    except CannotJudge as problem:
        return Judgement(target, [], str(problem))


def score(claims: list[Claim]) -> str:
    return f"{sum(claim.held for claim in claims)}/{len(claims)}"


def told(judgement: Judgement, stages: list[str]) -> str:
    """The claims, stage by stage, and the outcome."""
    parts = []
    for stage in [*stages, ""]:
        if claims := judgement.of(stage):
            lines = str(verdict(claims)).splitlines()[:-1]  # without an outcome of its own
            parts += [
                f"{stage}  {score(claims)}" if stage else "",
                *[f"  {line}" for line in lines],
            ]
    return "\n".join([*parts, judgement.outcome])


def table(judgements: list[Judgement], stages: list[str]) -> str:
    """A row for each target, a column for each stage."""
    rows = [["", *stages, "verdict"]]
    for each in judgements:
        scores = [score(each.of(stage)) if each.claims else "" for stage in stages]
        rows.append([each.target, *scores, each.problem or each.outcome])
    return aligned(rows)


def parser() -> Parser:
    parser = Parser(prog="stages.lab.judge", description="Judge servers by the shared tests.")
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="TARGET",
        help="my_server.py, package.module:Class or HOST:PORT",
    )
    parser.add_argument(
        "--until",
        choices=NAMES,
        default="disconnects",
        metavar="STAGE",
        help=f"the last stage whose claims are judged (default: %(default)s): {', '.join(NAMES)}",
    )
    parser.add_argument("--json", action="store_true", help="all that is known, for a program")
    return parser


def main() -> None:
    """The command line: `python -m stages.lab.judge TARGET … [--until STAGE] [--json]`."""
    arguments = parser()
    chosen = arguments.parse_args()
    stages = NAMES[: NAMES.index(chosen.until) + 1]
    many = len(chosen.targets) > 1
    targets = tqdm(chosen.targets, unit="server", leave=False) if many else chosen.targets
    try:
        judgements = [judge(target, chosen.until) for target in targets]
    except KeyboardInterrupt:
        arguments.exit(130, f"{arguments.prog}: interrupted before everything was judged\n")
    if chosen.json:
        print(json.dumps([each.as_json(stages) for each in judgements], indent=2, default=str))
    elif many:
        print(table(judgements, stages))
    elif not judgements[0].problem:
        print(told(judgements[0], stages))
    if all(each.problem for each in judgements):
        arguments.error("; ".join(each.problem for each in judgements))
    sys.exit(0 if all(each.holds for each in judgements) else 1)


if __name__ == "__main__":
    main()
