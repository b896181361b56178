"""Plots as pictures that a notebook can store."""

import io

from IPython.display import Image
from matplotlib.figure import Figure


def as_image(figure: Figure) -> Image:
    """A PNG of the figure, without a trace of the program that made it."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return Image(picture.getvalue())
