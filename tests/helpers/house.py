"""What there is to measure of the code."""

import ast
from pathlib import Path


def lines_of_code(path: Path) -> int:
    """Lines without comments, docstrings and blanks."""
    source = path.read_text(encoding="utf-8")
    lines = {
        n
        for n, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)
