"""The table at the end of the course."""

import pytest

from stages import STAGES
from stages.lab.lessons import finale

pytestmark = pytest.mark.slow


async def test_each_trouble_is_mended_once_and_for_all_later_stages() -> None:
    head, *rows = str(await finale.table()).splitlines()
    assert head.split() == [stage.rpartition(".")[2] for stage in STAGES]
    begins = []
    for row in rows:
        marks = "".join(row.split()[-len(STAGES) :])
        assert set(marks.lstrip("·")) == {"●"}
        begins.append(marks.index("●"))
    assert begins == sorted(set(begins))  # each by another stage, in the order of the lessons
