"""What a run of the benchmark has measured: kept in a file, told as a table, drawn as a picture."""

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lab.bench.works import WORKS
from stages.lab.pictures.plot import as_image, figure

if TYPE_CHECKING:
    from IPython.display import Image

Figures = dict[str, dict[str, list[float]]]
"""By work, by server: a value for each round; of latencies, the 100 percentiles of all rounds."""

RECORDED = Path(__file__).with_name("recorded.json")
"""The run that the notebook shows where none is made."""

CLUSTER = Path(__file__).with_name("cluster.json")
"""The run that lesson 11 shows."""

OWN = Path(__file__).parents[3] / ".bench.json"
"""Where the reader's own run is kept, in the project's checkout."""


@dataclass
class Run:
    """A run, and where it was made."""

    rounds: int
    versions: dict[str, str]
    day: str = field(default_factory=lambda: date.today().isoformat())
    machine: str = field(
        default_factory=lambda: f"{platform.system()}, {os.cpu_count()} CPUs, {platform.machine()}"
    )
    figures: Figures = field(default_factory=dict)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path = RECORDED) -> "Run":
        """Raises OSError, or ValueError if the file holds no run."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except TypeError:
            raise ValueError(f"{path} is no result of this benchmark") from None

    def median(self, work: str, server: str) -> float:
        return statistics.median(self.figures[work][server])

    def ratio(self, server: str, base: str, work: str = "1") -> float:
        """How many times as much `server` does as `base`, in the same run."""
        return self.median(work, server) / self.median(work, base)

    def table(self, base: str) -> str:
        """A row for each server and work: first as a multiple of `base`, then in figures."""
        lines = [f"{self.day}, {self.machine}, {self.made_with()}; medians of {self.rounds} rounds"]
        for work, of_servers in self.figures.items():
            title, unit = WORKS[work].title, WORKS[work].unit
            lines += ["", f"{title}, {unit}"]
            for server, values in of_servers.items():
                ratio = f"{self.ratio(server, base, work):8.2f} ×" if base in of_servers else ""
                spread = f"({min(values):,.0f} to {max(values):,.0f})"
                if unit == "µs":
                    spread = f"(p99 {values[98]:,.0f})"
                median = f"{self.median(work, server):,.0f}"
                lines.append(f"  {server:20}{ratio:>12}{median:>12}  {spread}")
        return "\n".join(lines)

    def made_with(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.versions.items())

    def picture(self, work: str = "1") -> "Image":
        """The rates of one work as bars on a logarithmic scale, and the latencies as a
        distribution. Beside the recorded run, the reader's own, if there is one."""
        beside = Run.load(OWN) if self == Run.load() and OWN.exists() else None
        return as_image(drawn(self, work, beside))


def drawn(run: Run, work: str, beside: Run | None = None) -> Any:
    plot = figure(8.4, 3.6)
    bars, lines = plot.subplots(1, 2)
    names = list(run.figures.get(work, {}))[::-1]
    draw_bars(bars, run, work, names)
    bars.set_title(f"{WORKS[work].title}, {WORKS[work].unit}", loc="left", fontsize=10)
    if beside and work in beside.figures:
        draw_bars(bars, beside, work, names, thin=True)
        bars.set_xlabel("wide: recorded; thin: your own run", fontsize=8)
    bars.set_xscale("log")
    bars.margins(x=0.25)
    for name, percentiles in run.figures.get("trip", {}).items():
        lines.plot(percentiles, range(1, len(percentiles) + 1), label=name)
    lines.set_xscale("log")
    lines.set_title("round trip: % that took at most so many µs", loc="left", fontsize=10)
    if "trip" in run.figures:
        lines.set_xlim(left=lines.get_xlim()[0] / 5)  # room for the legend
        lines.legend(fontsize=7, loc="upper left", frameon=False)
    for axes in (bars, lines):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return plot


def draw_bars(bars: Any, run: Run, work: str, names: list[str], *, thin: bool = False) -> None:
    """A bar for each server that was measured, at its place among `names`."""
    for place, name in enumerate(names):
        if name in run.figures.get(work, {}):
            rate = run.median(work, name)
            colour = "#dd8452" if thin else colour_of(name)
            bars.barh(place, rate, height=0.25 if thin else 0.8, color=colour)
            if not thin:
                bars.annotate(f" {rate:,.0f}", (rate, place), va="center", fontsize=8)
    bars.set_yticks(range(len(names)), names)


def colour_of(name: str) -> str:
    return "#4c72b0" if name[0].islower() else "#b0b0b0"


def percentiles(values: list[float]) -> list[float]:
    return [round(value, 1) for value in statistics.quantiles(values, n=101)]


def from_rounds(rounds: list[list[float]]) -> list[float]:
    """What is kept of the rounds of a server: a value each, or the percentiles of all."""
    if len(rounds[0]) == 1:
        return [float(f"{value:.4g}") for (value,) in rounds]
    return percentiles([value for values in rounds for value in values])


def versions_here(versions: dict[str, str | None]) -> dict[str, str]:
    own: dict[str, Any] = {"Python": platform.python_version()}
    return own | {name: version for name, version in versions.items() if version}
