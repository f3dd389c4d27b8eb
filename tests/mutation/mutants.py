"""Mutants of a module: its source with one place changed."""

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE,),
    ast.LtE: (ast.Lt,),
    ast.Gt: (ast.GtE,),
    ast.GtE: (ast.Gt,),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


class Mutant(NamedTuple):
    """One change: the line and the function where it is, what was there and what is there now, the changed source."""

    line: int
    function: str
    before: str
    after: str
    source: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its lines."""
    places = sum(1 for _ in _changes(ast.parse(source)))
    for place in range(places):
        tree = ast.parse(source)
        function, node, change = list(_changes(tree))[place]
        before = ast.unparse(node)
        line = getattr(node, "lineno", 0)
        change()
        yield Mutant(line, function, before, ast.unparse(node), ast.unparse(tree))


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.AST, Callable[[], None]]]:
    """Every place, and what changes it: its function, the node that shows the change, and the change."""
    for statement in tree.body:
        # Tables and names are checked by whoever uses them; what is changed is what functions do.
        if isinstance(statement, ast.FunctionDef):
            yield from _changes_of(statement, "")
        elif isinstance(statement, ast.ClassDef):
            for method in statement.body:
                if isinstance(method, ast.FunctionDef):
                    yield from _changes_of(method, f"{statement.name}.")


def _changes_of(function: ast.FunctionDef, of: str) -> Iterator[tuple[str, ast.AST, Callable[[], None]]]:
    """Those of a function and of the functions within it."""
    for inner in ast.walk(function):
        if isinstance(inner, ast.FunctionDef):
            for node in _nodes(inner):
                for shown, change in _of_node(node):
                    yield of + function.name, shown, change


def _nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop(0)
        # What a failure says is for people to read.
        if isinstance(node, ast.FunctionDef | ast.JoinedStr):
            continue
        yield node
        waiting[:0] = ast.iter_child_nodes(node)


def _of_node(node: ast.AST) -> Iterator[tuple[ast.AST, Callable[[], None]]]:
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for other in _COMPARISONS[type(operator)]:
                    yield node, _setter(node.ops, place, other())
        case ast.BoolOp():
            other_operator = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield node, lambda: setattr(node, "op", other_operator)
        case ast.If() | ast.While() | ast.IfExp():
            test = node.test
            if not (isinstance(test, ast.Compare | ast.BoolOp) or _is_not(test)):
                negated = ast.UnaryOp(ast.Not(), test)
                yield test, lambda: setattr(node, "test", negated)
        case ast.UnaryOp(op=ast.Not()):
            yield node, lambda: setattr(node, "op", ast.UAdd()) or _drop_not(node)
        case ast.UnaryOp(op=ast.USub()):
            yield node, lambda: setattr(node, "op", ast.UAdd())
        case ast.BinOp(op=ast.Add()):
            yield node, lambda: setattr(node, "op", ast.Sub())
        case ast.BinOp(op=ast.Sub()):
            yield node, lambda: setattr(node, "op", ast.Add())
        case ast.Break() | ast.Continue():
            pass
        case ast.Return(value=ast.Call(func=ast.Name(id="AuthFailure"))):
            yield node, lambda: setattr(node, "value", ast.Constant(None))
        case ast.Constant(value=bool()):
            yield node, lambda: setattr(node, "value", not node.value)
        case ast.Constant(value=int()):
            yield node, lambda: setattr(node, "value", int(node.value) + 1)  # type: ignore[call-overload]
        case ast.Constant(value=str(text)) if text and "." not in text and " " not in text:
            yield node, lambda: setattr(node, "value", f"{text}?")


def _is_not(test: ast.expr) -> bool:
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _drop_not(node: ast.UnaryOp) -> None:
    """`not x` becomes `not not x`, which counts as x."""
    node.op = ast.Not()
    node.operand = ast.UnaryOp(ast.Not(), node.operand)


def _setter(operators: list[ast.cmpop], place: int, other: ast.cmpop) -> Callable[[], None]:
    def change() -> None:
        operators[place] = other

    return change
