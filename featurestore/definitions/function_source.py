"""The source of an on-demand function: taken from its file, and held to what gives the same values anywhere.

The text alone runs, offline and in servers, in a namespace that has ``pl`` (Polars), the builtins, and nothing of the
module that it came from. What it would miss there is refused when the function is decorated, and so is what the text
shows to change from call to call. This cannot see everything; the examples and trial rows of ``transforms`` see more.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import io
import re
import symtable
import sys
import tokenize
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import metadata
from types import ModuleType
from typing import Any, TypeVar

from featurestore.errors import DefinitionError

#: The name under which a function finds Polars.
POLARS = "pl"

#: Dotted names whose values are no function of the rows, each with all that is under it; "_" ends the start of a name.
_NOT_OF_THE_ROWS = (
    "datetime.date.today", "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow", "http",
    "importlib", "io.open", "multiprocessing", "numpy.random", "os", "pathlib", "polars.read_", "polars.scan_",
    "random", "secrets", "shutil", "socket", "subprocess", "tempfile", "threading", "time", "urllib",
    "uuid.getnode", "uuid.uuid1", "uuid.uuid4",
)  # fmt: skip

#: Builtins of the same sort. A text's hash is another in each process, and an id in each call.
_BUILTINS_NOT_OF_THE_ROWS = frozenset(
    {"__import__", "breakpoint", "compile", "eval", "exec", "globals", "hash", "id", "input", "open"}
)

_FRAME = re.compile(r"(?:(?:pl|polars)\.)?DataFrame")
_BATCH = re.compile(r"(?:(?:pl|polars)\.)?DataFrame|(?:\w+\.)*(?:dict|Dict|Mapping)(?:\[str, ?(?:\w+\.)*\w+\])?")

_Strippable = TypeVar("_Strippable", ast.FunctionDef, ast.AsyncFunctionDef)


def function_source(function: Callable[..., Any], packages: Collection[str], what: str) -> str:
    """Return the text of a function without its decorator and indentation; lines end with one line feed.

    Args:
        function: a plain function of one batch of rows.
        packages: normalised names of the distributions that it may import beside Polars.
        what: the view, to begin messages: ``On-demand feature view "chill"``.

    Raises:
        DefinitionError: it is no plain function, its source is not at hand, it has other arguments or types than one
            batch in and one out, or it would not run, or not give the same values, away from its module.
    """
    _check_kind(function, what)
    lines, node = _parsed(function, what)
    source = "\n".join(lines)
    _check_types(node, what)
    names = _free_names(node)
    _check_repeatable(node, names, what)
    _check_imports(node, packages, what)
    _check_names(node, names, function.__globals__, what)
    return source


def _check_kind(function: Callable[..., Any], what: str) -> None:
    if not inspect.isfunction(function):
        shown = "a method" if inspect.ismethod(function) else repr(function)
        raise DefinitionError(
            f"{what} is made of {shown}, which is not a plain function.", hint="Decorate def name(rows: pl.DataFrame)."
        )
    problem = hint = ""
    parent = function.__qualname__.rpartition(".")[0]
    if function.__name__ == "<lambda>":
        problem, hint = "a lambda", "Write it as def name(rows: pl.DataFrame) -> pl.DataFrame."
    elif inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        problem, hint = "an async function", "It computes and waits for nothing: write def, without async."
    elif inspect.isgeneratorfunction(function):
        problem, hint = "a generator", "Return the whole batch at once: write return, not yield."
    elif parent and not parent.endswith("<locals>"):
        problem, hint = "a method", "Move it out of its class: it is kept by its own text."
    elif function.__closure__:
        names = ", ".join(f'"{name}"' for name in function.__code__.co_freevars)
        problem, hint = f"a closure over {names}", "Move that inside the function: it is kept by its own text."
    elif hasattr(function, "__wrapped__"):
        problem, hint = "a function with another decorator", "Only its own text is kept: do inside what that does."
    if problem:
        raise DefinitionError(f"{what} is made of {problem}.", hint=hint)


def _parsed(function: Callable[..., Any], what: str) -> tuple[list[str], ast.FunctionDef]:
    try:
        block = [line.rstrip("\r\n") for line in inspect.getsourcelines(function)[0]]
        lines = _dedented(block)
        node = ast.parse("\n".join(lines)).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, tokenize.TokenError):
        node, lines = None, []
    if not isinstance(node, ast.FunctionDef) or node.name != function.__name__:
        raise DefinitionError(
            f"{what}: the source of its function is not at hand.",
            hint="Define it in a file or a notebook: what is typed at a prompt, or made by exec, leaves no text.",
        )
    if len(node.decorator_list) > 1:
        raise DefinitionError(
            f"{what} is made of a function with another decorator.",
            hint="Only its own text is kept: do inside what that does.",
        )
    kept = lines[node.lineno - 1 : node.end_lineno]
    tree = ast.parse("\n".join(kept)).body[0]
    assert isinstance(tree, ast.FunctionDef)  # noqa: S101 - it was one with its decorator
    return kept, tree


def _dedented(block: list[str]) -> list[str]:
    """Return lines without the indentation of the first; those that begin inside a text are the text's, and stay."""
    indent = block[0][: len(block[0]) - len(block[0].lstrip())]
    if not indent:
        return block
    inside: set[int] = set()
    opened: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO("if 1:\n" + "\n".join(block) + "\n").readline):
        kind = tokenize.tok_name[token.type]
        # From Python 3.12 on, an f-string is many tokens; all of it stays, as before, so that the hash is the same.
        if kind in ("FSTRING_START", "TSTRING_START"):
            opened.append(token.start[0])
        elif kind in ("STRING", "FSTRING_END", "TSTRING_END"):
            start = token.start[0] if kind == "STRING" else opened.pop()
            inside.update(range(start, token.end[0]))  # tokens count from 1 and have one line more
    return [line if at in inside else line.removeprefix(indent) for at, line in enumerate(block, 1)]


def _check_types(node: ast.FunctionDef, what: str) -> None:
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    hint = f"Write def {node.name}(rows: pl.DataFrame) -> pl.DataFrame, or -> dict[str, pl.Series]."
    if len(plain) != 1 or arguments.defaults or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
        raise DefinitionError(f"{what}: its function takes other arguments than one batch of rows.", hint=hint)
    for role, annotation, allowed in (
        (f'its argument "{plain[0].arg}"', plain[0].annotation, _FRAME),
        ("its result", node.returns, _BATCH),
    ):
        if annotation is None:
            raise DefinitionError(f"{what}: its function does not say the type of {role}.", hint=hint)
        text = _annotation(annotation)
        if not allowed.fullmatch(text):
            raise DefinitionError(f"{what}: its function says that {role} is {text}.", hint=hint)


def _annotation(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)


class _WithoutAnnotations(ast.NodeTransformer):
    """Annotations are never evaluated, so their names need not be there."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._without(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._without(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return ast.Pass()
        return ast.Assign(targets=[node.target], value=node.value)

    def _without(self, node: _Strippable) -> _Strippable:
        node.returns = None
        self.generic_visit(node)
        return node


def _free_names(node: ast.FunctionDef) -> set[str]:
    """Return every name that the function looks for outside of itself, builtins among them."""
    bare = ast.fix_missing_locations(_WithoutAnnotations().visit(ast.parse(ast.unparse(node))))
    table = symtable.symtable(ast.unparse(bare), "<function>", "exec")
    return {symbol.get_name() for scope in _scopes(table) for symbol in scope.get_symbols() if symbol.is_global()}


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _scopes(child)


def _check_names(node: ast.FunctionDef, names: set[str], module: Mapping[str, Any], what: str) -> None:
    for name in sorted(names):
        there = module.get(name)
        if name == POLARS:
            if there is None or getattr(there, "__name__", "") == "polars":
                continue
            raise DefinitionError(
                f'{what}: its function uses "{POLARS}", which is not Polars in its module.', hint="Rename it there."
            )
        if name in vars(builtins) and name not in module:
            continue
        hint = "Put it inside the function: its own text is all that is kept."
        if isinstance(there, ModuleType):
            hint = f"Write inside the function: import {there.__name__} as {name}"
        raise DefinitionError(
            f'{what}: its function uses "{name}", which is not defined inside it ({_line_of_name(node, name)}).',
            hint=hint,
        )


def _line_of_name(node: ast.FunctionDef, name: str) -> str:
    lines = [one.lineno for one in ast.walk(node) if isinstance(one, ast.Name) and one.id == name]
    lines += [one.lineno for one in ast.walk(node) if isinstance(one, ast.Global) and name in one.names]
    return f"line {min(lines, default=node.lineno)}"


def _check_imports(node: ast.FunctionDef, packages: Collection[str], what: str) -> None:
    for imported, line in _imports(node):
        top = imported.partition(".")[0]
        if top in sys.stdlib_module_names or top == "polars" or _belongs(top, packages):
            continue
        if not top:
            problem, hint = "imports from beside its module", "Put what it needs inside the function."
        else:
            problem = f'imports "{top}", which is neither of the standard library nor of its packages'
            hint = f'Declare it: packages=["{top}"], by the name under which pip installs it.'
        raise DefinitionError(f"{what}: its function {problem} (line {line}).", hint=hint)


def _belongs(top: str, packages: Collection[str]) -> bool:
    if normalised(top) in packages:
        return True
    return bool(packages) and any(normalised(one) in packages for one in metadata.packages_distributions().get(top, ()))


def normalised(distribution: str) -> str:
    """Return the name of a distribution as package indexes compare it: small letters, "-" for each separator."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _imports(node: ast.FunctionDef) -> Iterator[tuple[str, int]]:
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            yield from ((alias.name, one.lineno) for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            yield "" if one.level else str(one.module), one.lineno


def _check_repeatable(node: ast.FunctionDef, names: set[str], what: str) -> None:
    found = [
        (one.id, one.lineno)
        for one in ast.walk(node)
        if isinstance(one, ast.Name) and one.id in _BUILTINS_NOT_OF_THE_ROWS & names
    ]
    found += [pair for pair in _dotted_names(node) if any(_is_under(pair[0], start) for start in _NOT_OF_THE_ROWS)]
    for name, line in found:
        raise DefinitionError(
            f"{what}: its function uses {name} (line {line}), which is no function of its rows.",
            hint="Make it a request field, so that it is logged and can be reproduced.",
        )


def _is_under(name: str, start: str) -> bool:
    return name.startswith(start) if start.endswith("_") else f"{name}.".startswith(f"{start}.")


def _dotted_names(node: ast.FunctionDef) -> Iterator[tuple[str, int]]:
    """Yield what is imported and used, in full: ``datetime.datetime.now`` for ``dt.now`` of an alias ``dt``."""
    aliases = {POLARS: "polars"}
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            for alias in one.names:
                top = alias.name.partition(".")[0]
                aliases[alias.asname or top] = alias.name if alias.asname else top
                yield alias.name, one.lineno
        elif isinstance(one, ast.ImportFrom) and one.module and not one.level:
            for alias in one.names:
                aliases[alias.asname or alias.name] = f"{one.module}.{alias.name}"
                yield f"{one.module}.{alias.name}", one.lineno
    for one in ast.walk(node):
        path: list[str] = []
        inner: ast.AST = one
        while isinstance(inner, ast.Attribute):
            path.insert(0, inner.attr)
            inner = inner.value
        if path and isinstance(inner, ast.Name) and inner.id in aliases:
            yield ".".join([aliases[inner.id], *path]), inner.lineno
