"""Moving parts of an SVG without a script (SMIL). Each lasts as long as the whole film, so that a
browser can seek it."""

HIDDEN = "no"


class Animation:
    def __init__(self, length: float, *, loop: bool) -> None:
        self.length = length
        self.ending = 'repeatCount="indefinite"' if loop else 'fill="freeze"'

    def shown(self, frames: list[tuple[float, str]], content: str) -> str:
        """The content with one class after the other; `HIDDEN` hides it."""
        frames = merged([(0.0, HIDDEN), *frames])
        if len(frames) == 1:
            return "" if frames[0][1] == HIDDEN else f'<g class="{frames[0][1]}">{content}</g>'
        change = self.animate(
            '<animate attributeName="class" calcMode="discrete"',
            [(min(at / self.length, 1), name) for at, name in frames],
        )
        return f'<g class="{HIDDEN}">{change}{content}</g>'

    def moving(
        self, way: tuple[tuple[int, int], tuple[int, int]], start: float, end: float, content: str
    ) -> str:
        """The content on its way from one point to another."""
        first, last = (f"{x} {y}" for x, y in way)
        times = [0, start / self.length, end / self.length, 1]
        move = self.animate(
            '<animateTransform attributeName="transform" type="translate"',
            list(zip(times, [first, first, last, last], strict=True)),
        )
        return f"<g>{move}{content}</g>"

    def animate(self, begin: str, frames: list[tuple[float, str]]) -> str:
        times = ";".join(f"{at:.4f}".rstrip("0").rstrip(".") for at, _ in frames)
        values = ";".join(value for _, value in frames)
        return (
            f'{begin} dur="{self.length:.1f}s" {self.ending} keyTimes="{times}" values="{values}"/>'
        )


def merged(frames: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Without those that change nothing; of several at a time, the last one."""
    found: list[tuple[float, str]] = []
    for at, name in frames:
        if found and found[-1][0] == at:
            found.pop()
        if not found or found[-1][1] != name:
            found.append((at, name))
    return found
