"""How long to wait for what a server should do soon.

$ STAGES_PATIENCE=5 python -m pytest tests            on a machine that is busy, five times as long
"""

import math
import os


def factor() -> float:
    told = os.environ.get("STAGES_PATIENCE", "1")
    try:
        found = float(told)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise SystemExit(f"STAGES_PATIENCE must be a number more than 0: got {told!r}")
    return found


FACTOR = factor()


def patient(seconds: float) -> float:
    """So many seconds on a machine that has nothing else to do."""
    return seconds * FACTOR
