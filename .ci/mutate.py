"""Change a program by machine, one place at a time.

Source: DeMillo, Lipton and Sayward, *Hints on Test Data Selection* (1978).
"""

import ast
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

OPPOSITES: dict[type[ast.AST], type[Any]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
}  # fmt: skip
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNTOUCHED = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Mutant(NamedTuple):
    function: int
    """The line on which the changed function begins, as Python counts: with its decorators."""

    line: int
    was: str
    source: str
    """The whole file, changed."""

    now: str


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What might stand in a node's place."""
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in OPPOSITES:
            yield ast.Compare(node.left, [OPPOSITES[type(op)](), *node.ops[1:]], node.comparators)
        case ast.BoolOp() | ast.BinOp() if type(node.op) in OPPOSITES:
            yield with_(node, op=OPPOSITES[type(node.op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Name(ctx=ast.Load()) if node.id in SWAPPED:
            yield ast.Name(SWAPPED[node.id], ast.Load())
        case ast.If() | ast.IfExp():
            for truth in (True, False):
                yield with_(node, test=ast.Constant(truth))
        case ast.Return(value=ast.expr() as value) if not is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.comprehension(ifs=[_, *_]):
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
    if isinstance(node, ast.stmt) and is_droppable(node):
        yield ast.Pass()


def with_(node: ast.AST, **fields: ast.AST) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def is_droppable(node: ast.stmt) -> bool:
    """Whether a statement can be left out: no definition, docstring, log record or declaration."""
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant) and not is_logging(node.value)
    return isinstance(
        node, ast.Assign | ast.AugAssign | ast.Delete | ast.Raise | ast.Continue | ast.Break
    )


def is_logging(value: ast.expr) -> bool:
    return ast.unparse(value).startswith(("log.", "yield", "print("))


def places(tree: ast.Module) -> Iterator[tuple[int, ast.AST, str, int | None]]:
    """Every field of every node that holds another one, inside functions: what is changed there
    runs. With the line on which the function begins."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            begins = min(each.lineno for each in (function, *function.decorator_list))
            for number in range(len(function.body)):
                for place in places_in(function, "body", number):
                    yield begins, *place


def places_in(
    parent: ast.AST, field: str, number: int | None
) -> Iterator[tuple[ast.AST, str, int | None]]:
    node = getattr(parent, field) if number is None else getattr(parent, field)[number]
    if isinstance(node, UNTOUCHED):
        return
    yield parent, field, number
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "msg"):
            continue
        if isinstance(value, ast.AST):
            yield from places_in(node, name, None)
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield from places_in(node, name, index)


def mutants_of(source: str) -> Iterator[Mutant]:
    tree = ast.parse(source)
    for function, parent, field, number in places(tree):
        holder = getattr(parent, field)
        node = holder if number is None else holder[number]
        for variant in variants(node):
            put(parent, field, number, variant)
            changed = ast.unparse(ast.fix_missing_locations(tree))
            put(parent, field, number, node)
            was, now = (ast.unparse(each).partition("\n")[0] for each in (node, variant))
            yield Mutant(function, getattr(node, "lineno", 0), was, changed, now)


def put(parent: ast.AST, field: str, number: int | None, node: ast.AST) -> None:
    if number is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[number] = node
