"""What the simulations share."""

import pytest
from histories import take_small_steps


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots of a few messages at a time, so that much happens between."""
    take_small_steps(monkeypatch.setattr)
