"""The table of claims and stages: what holds from which stage on, as the tests say it."""

import contextlib
import io
from collections import defaultdict
from typing import Any

import pytest

from stages.lab.judging.shared_tests import NAMES, TESTS


class Collector:
    """A plugin of pytest that notes which claim is expected to hold on which stage."""

    def __init__(self) -> None:
        self.signs: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        matrix: Any = session.config.pluginmanager.get_plugin("matrix")
        for item in session.items:
            introduced = matrix.introduced_in(getattr(item, "module", None))
            stage = getattr(getattr(item, "callspec", None), "params", {}).get("stage")
            if introduced and stage in NAMES:
                signs = self.signs[introduced, matrix.claim_of(item.name)]
                absent = item.get_closest_marker("xfail") or signs.get(stage) == "·"
                signs[stage] = "·" if absent else "✓"


def upright(name: str) -> str:
    """A heading that takes little room."""
    return f'<span class="upright">{name}</span>'


def page() -> str:
    """The table as Markdown."""
    collector = Collector()
    files = [str(file) for name in NAMES if (file := TESTS / f"test_{name}.py").exists()]
    with contextlib.redirect_stdout(io.StringIO()):
        options = ["--collect-only", "-q", "-m", "", "-p", "no:cacheprovider"]
        pytest.main([*files, *options], plugins=[collector])
    if not collector.signs:
        raise SystemExit("no claims were found: expected those of tests/claims")
    rows = [
        " | ".join(
            [f'| <span class="claim">{claim}</span>', *[signs.get(name, "") for name in NAMES], ""]
        )
        for (_, claim), signs in collector.signs.items()
    ]
    return "\n".join(
        [
            "---\nhtml_theme.sidebar_secondary.remove: true\n---\n",
            "# What each stage promises",
            "",
            "✓ the claim holds, and a test of that name runs on this stage; · it does not hold "
            "yet, or (for the article's wire) no more, and the same test must fail.",
            "",
            f"| claim | {' | '.join(map(upright, NAMES))} |",
            f"|---{'|:-:' * len(NAMES)}|",
            *rows,
            "",
        ]
    )
