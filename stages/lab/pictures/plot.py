"""Plots as pictures that a notebook can store."""

import io
from typing import TYPE_CHECKING, Any

from stages.lab.simulated import NotInABrowser

if TYPE_CHECKING:
    from IPython.display import Image


def figure(width: float, height: float) -> Any:
    """An empty figure of matplotlib, so many inches wide and high."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NotInABrowser(
            "charts need matplotlib: look at this one where the lesson is read"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def as_image(figure: Any) -> "Image":
    """A PNG of the figure, without a trace of the program that made it."""
    from IPython.display import Image  # the judge does without it

    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return Image(picture.getvalue())
