"""What was promised holds after every history: see `histories.py`."""

import pytest
from histories import simulate

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("hundred", [0, 1])
def test_what_was_promised_holds_after_every_history(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        simulate(seed)
