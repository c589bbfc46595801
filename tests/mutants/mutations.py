"""Small changes to a module's functions, each of which should make a test fail. Pure: source text in, mutants out."""

import ast
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from attrs import field, frozen

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_NOT_RUN = ("annotation", "returns", "decorator_list", "type_params")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@frozen
class Mutant:
    """One change of one function."""

    function: str
    """Its qualified name in the module."""
    line: int
    lines: range = field(repr=False)
    """Those of its statement, of which a test that can find it runs one."""
    before: str
    after: str
    apply: Callable[[], None] = field(repr=False, eq=False)
    """Makes the change in the tree that the mutants of one module share: once in a process."""

    def __str__(self) -> str:
        return f"{self.function}: {self.before} -> {self.after}"


@frozen
class Module:
    """A module, and its mutants."""

    path: str
    tree: ast.Module = field(repr=False, eq=False)
    mutants: tuple[Mutant, ...]

    @classmethod
    def parsed(cls, path: str, source: str) -> "Module":
        """The mutants of all functions and methods. What runs at import, and texts for people, are left alone."""
        tree = ast.parse(source)
        found = [mutant for name, function in _functions(tree, "") for mutant in _mutants(name, function)]
        return cls(path, tree, tuple(found))

    def codes(self) -> dict[tuple[str, int], CodeType]:
        """The functions as they are in the tree now, by qualified name and first line."""
        tree = ast.fix_missing_locations(self.tree)
        return {(code.co_qualname, code.co_firstlineno): code for code in nested(compile(tree, self.path, "exec"))}


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS):
            if child.name != "__repr__":
                yield prefix + child.name, child
        else:
            yield from _functions(child, f"{prefix}{child.name}." if isinstance(child, ast.ClassDef) else prefix)


def nested(code: CodeType) -> Iterator[CodeType]:
    """The code of functions, lambdas and the like that are defined in it, at any depth."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from nested(const)


def _mutants(name: str, function: ast.AST) -> Iterator[Mutant]:
    for owner, attribute, index, node, lines in _places(function, range(0), is_function=True):
        for changed in _changed(node):
            before, after = " ".join(ast.unparse(node).split()), " ".join(ast.unparse(changed).split())
            put = _setter(owner, attribute, index, changed)
            yield Mutant(name, getattr(node, "lineno", lines.start), lines, before, after, put)


def _places(
    node: ast.AST, lines: range, *, is_function: bool = False
) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, range]]:
    """Every node below, with what holds it, an attribute of another one or a place in its list, and its lines."""
    for attribute, value in ast.iter_fields(node):
        if attribute in _NOT_RUN or (is_function and attribute == "args"):
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                within = _lines(child, lines)
                yield node, attribute, index, child, within
                yield from _places(child, within)


def _lines(node: ast.AST, lines: range) -> range:
    """Those of a statement, or of a case, up to its body; of anything else, those of the statement that it is in."""
    if isinstance(node, ast.match_case):
        return range(node.pattern.lineno, node.body[0].lineno + 1)
    if not isinstance(node, ast.stmt):
        return lines
    inner = [*getattr(node, "body", ()), *getattr(node, "cases", ())]
    if not inner:
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    first = inner[0].pattern if isinstance(inner[0], ast.match_case) else inner[0]
    return range(node.lineno, max(node.lineno + 1, first.lineno))


def _is_left_alone(node: ast.AST) -> bool:
    """Docstrings, texts, asserts for type checkers and calls of `assert_never`, and log lines."""
    if isinstance(node, ast.Assert | ast.JoinedStr | ast.Delete):
        return True
    if not isinstance(node, ast.Expr):
        return False
    match node.value:
        case ast.Constant():
            return True
        case ast.Call(func=ast.Name(id="assert_never") | ast.Attribute(value=ast.Name(id="log"))):
            return True
    return False


def _setter(owner: ast.AST, attribute: str, index: int | None, changed: ast.AST) -> Callable[[], None]:
    def put() -> None:
        if index is None:
            setattr(owner, attribute, changed)
        else:
            getattr(owner, attribute)[index] = changed

    return put


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """The node, changed in each way that there is for its kind."""
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                operators = [*node.ops]
                operators[place] = _COMPARISONS[type(operator)]()
                yield _copied(node, ops=operators)
            yield from _with_texts(node)
        case ast.BoolOp():
            yield _copied(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            for operand in node.values:
                others = [other for other in node.values if other is not operand]
                yield others[0] if len(others) == 1 else _copied(node, values=others)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.If() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield _copied(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.BinOp() if type(node.op) in _OPERATORS:
            yield _copied(node, op=_OPERATORS[type(node.op)]())
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr() | ast.AugAssign() | ast.Raise():
            yield ast.Pass()
        case ast.Call(func=ast.Name(id="evolve")):
            for keyword in node.keywords:
                yield _copied(node, keywords=[other for other in node.keywords if other is not keyword])


def _with_texts(node: ast.Compare) -> Iterator[ast.AST]:
    """A text that something is compared with, as another one."""
    for place, (operator, side) in enumerate(zip(node.ops, node.comparators, strict=True)):
        if isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            continue
        if isinstance(side, ast.Constant) and isinstance(side.value, str):
            sides = [*node.comparators]
            sides[place] = ast.Constant(side.value + "?")
            yield _copied(node, comparators=sides)


def _copied(node: Any, **changes: Any) -> ast.AST:
    fields = {**dict(ast.iter_fields(node)), **changes}
    return ast.copy_location(type(node)(**fields), node)  # type: ignore[no-any-return]
