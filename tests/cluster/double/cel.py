"""CEL as far as rules of custom resources use it: an expression becomes a function of variables.

There: literals, operators, `?:`, `in`, indexing, has(), size(), int(), double(), string(), all,
exists, exists_one, map, filter, and the functions in `cel_functions`. Not there: types other than
JSON's, quantities, durations, timestamps, formats, optionals and cost limits. No type check at
compilation: what a real server refuses at once fails here when it is evaluated.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.cluster.double.cel_functions import (
    FUNCTIONS,
    METHODS,
    CelError,
    NotThere,
    arithmetic,
    compared,
    member_of,
    same,
)

Scope = Mapping[str, Any]
Term = Callable[[Scope], Any]
_TOKEN = re.compile(
    r"""\s*(?:(?P<num>\d+\.\d+(?:[eE][-+]?\d+)?|\d+)u?
    |(?P<raw>[rR]"[^"]*"|[rR]'[^']*')
    |(?P<str>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<op>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}]))""",
    re.VERBOSE,
)
_LEVELS = (("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
_MACROS = ("all", "exists", "exists_one", "map", "filter")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class CelSyntax(Exception):
    """The expression is none."""


def compiled(text: str) -> Term:
    """Raises CelSyntax, and NotThere for what this interpreter does not know."""
    parser = _Parser(text)
    term = parser.ternary()
    if parser.kind:
        raise CelSyntax(f"unexpected {parser.value!r} in {text!r}")
    return term


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.kind, self.value = "", ""
        self._next()

    def _next(self) -> str:
        taken = self.value
        if not self.text[self.at :].strip():
            self.kind, self.value = "", ""
            return taken
        found = _TOKEN.match(self.text, self.at)
        if not found or found.lastgroup is None:
            raise CelSyntax(f"at {self.at} of {self.text!r}")
        self.at, self.kind, self.value = found.end(), found.lastgroup, found[found.lastgroup]
        return taken

    def _is(self, *operators: str) -> bool:
        return self.kind in ("op", "name") and self.value in operators

    def _take(self, operator: str) -> None:
        if not self._is(operator):
            raise CelSyntax(f"{operator!r} expected before {self.value!r} in {self.text!r}")
        self._next()

    # -- operators, the weakest first

    def ternary(self) -> Term:
        test = self._or()
        if not self._is("?"):
            return test
        self._next()
        yes = self._or()
        self._take(":")
        no = self.ternary()
        return lambda scope: yes(scope) if _truth(test(scope)) else no(scope)

    def _or(self) -> Term:
        return self._junction("||", self._and, True)

    def _and(self) -> Term:
        return self._junction("&&", lambda: self._binary(0), False)

    def _junction(self, operator: str, below: Callable[[], Term], decides: bool) -> Term:
        terms = [below()]
        while self._is(operator):
            self._next()
            terms.append(below())
        if len(terms) == 1:
            return terms[0]

        def value(scope: Scope) -> bool:
            """One side that decides outweighs an error of another."""
            failed: CelError | None = None
            for term in terms:
                try:
                    if _truth(term(scope)) is decides:
                        return decides
                except CelError as error:
                    failed = error
            if failed is not None:
                raise failed
            return not decides

        return value

    def _binary(self, level: int) -> Term:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._is(*_LEVELS[level]):
            left = _operation(self._next(), left, self._binary(level + 1))
        return left

    def _unary(self) -> Term:
        if self._is("!"):
            self._next()
            inner = self._unary()
            return lambda scope: not _truth(inner(scope))
        if self._is("-"):
            self._next()
            number = self._unary()
            return lambda scope: -number(scope)
        return self._postfix(self._primary())

    # -- members and calls

    def _postfix(self, term: Term) -> Term:
        while self._is(".", "["):
            if self._next() == "[":
                term = _index(term, self.ternary())
                self._take("]")
                continue
            if self.kind != "name":
                raise CelSyntax(f"a name expected after '.' in {self.text!r}")
            name = self._next()
            if not self._is("("):
                term = _member(term, _unescaped(name))
            elif name in _MACROS:
                term = self._macro(term, name)
            else:
                term = _call(METHODS, name, [term, *self._arguments()])
        return term

    def _arguments(self) -> list[Term]:
        self._take("(")
        return self._list(")")

    def _list(self, end: str) -> list[Term]:
        items: list[Term] = []
        while not self._is(end):
            items.append(self.ternary())
            if not self._is(end):
                self._take(",")
        self._take(end)
        return items

    def _macro(self, over: Term, name: str) -> Term:
        self._take("(")
        variable = self._next()
        self._take(",")
        parts = [self.ternary()]
        if self._is(","):
            self._next()
            parts.append(self.ternary())
        self._take(")")
        return _macro(name, over, variable, parts)

    def _primary(self) -> Term:
        if self.kind in ("num", "str", "raw"):
            constant = _constant(self.kind, self._next())
            return lambda scope: constant
        if self._is("("):
            self._next()
            inner = self.ternary()
            self._take(")")
            return inner
        if self._is("["):
            self._next()
            items = self._list("]")
            return lambda scope: [item(scope) for item in items]
        if self._is("{"):
            return self._map()
        if self.kind != "name":
            raise CelSyntax(f"unexpected {self.value or 'end'!r} in {self.text!r}")
        name = self._next()
        if self._is("("):
            return self._has() if name == "has" else _call(FUNCTIONS, name, self._arguments())
        known = {"true": True, "false": False, "null": None}
        if name in known:
            return lambda scope: known[name]
        return lambda scope: scope[name]

    def _map(self) -> Term:
        self._take("{")
        pairs: list[tuple[Term, Term]] = []
        while not self._is("}"):
            key = self.ternary()
            self._take(":")
            pairs.append((key, self.ternary()))
            if not self._is("}"):
                self._take(",")
        self._take("}")
        return lambda scope: {key(scope): value(scope) for key, value in pairs}

    def _has(self) -> Term:
        """has(a.b): whether a, which must be there, has b."""
        self._take("(")
        start = self._primary()
        path: list[str] = []
        while self._is("."):
            self._next()
            path.append(_unescaped(self._next()))
        self._take(")")
        if not path:
            raise CelSyntax(f"has() of no field in {self.text!r}")
        for name in path[:-1]:
            start = _member(start, name)
        holder, last = start, path[-1]
        return lambda scope: last in holder(scope)


def _unescaped(name: str) -> str:
    """`__namespace__` and `__dot__`: fields that CEL could not name."""
    if name.startswith("__") and name.endswith("__") and len(name) > 4:
        name = name[2:-2]
    for code, letter in (("dot", "."), ("dash", "-"), ("slash", "/"), ("underscores", "__")):
        name = name.replace(f"__{code}__", letter)
    return name


def _constant(kind: str, text: str) -> Any:
    if kind == "num":
        return float(text) if "." in text else int(text)
    if kind == "raw":
        return text[2:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1])


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise CelError("no such overload")
    return value


def _member(term: Term, name: str) -> Term:
    return lambda scope: member_of(term(scope), name)


def _index(term: Term, key: Term) -> Term:
    def value(scope: Scope) -> Any:
        holder, at = term(scope), key(scope)
        if isinstance(holder, list):
            if not isinstance(at, int) or not 0 <= at < len(holder):
                raise CelError(f"index out of bounds: {at}")
            return holder[at]
        return member_of(holder, at)

    return value


def _operation(operator: str, left: Term, right: Term) -> Term:
    if operator == "==":
        return lambda scope: same(left(scope), right(scope))
    if operator == "!=":
        return lambda scope: not same(left(scope), right(scope))
    if operator == "in":
        return lambda scope: any(same(left(scope), item) for item in right(scope))
    if operator in ("<", "<=", ">", ">="):
        return lambda scope: compared(operator, left(scope), right(scope))
    return lambda scope: arithmetic(operator, left(scope), right(scope))


def _call(table: Mapping[str, Callable[..., Any]], name: str, arguments: list[Term]) -> Term:
    function = table.get(name)
    if function is None:
        raise NotThere(f"{name}()")

    def value(scope: Scope) -> Any:
        try:
            return function(*(argument(scope) for argument in arguments))
        except (TypeError, ValueError, AttributeError) as error:
            raise CelError(f"{name}: {error}") from error

    return value


def _macro(name: str, over: Term, variable: str, parts: list[Term]) -> Term:
    def each(scope: Scope, part: Term) -> list[Any]:
        return [part({**scope, variable: item}) for item in over(scope)]

    def value(scope: Scope) -> Any:
        if name == "map":
            if len(parts) == 1:
                return each(scope, parts[0])
            kept = [{**scope, variable: item} for item in over(scope)]
            return [parts[1](inner) for inner in kept if _truth(parts[0](inner))]
        if name == "filter":
            return [i for i in over(scope) if _truth(parts[0]({**scope, variable: i}))]
        held = [_truth(held) for held in each(scope, parts[0])]
        if name == "all":
            return all(held)
        return any(held) if name == "exists" else sum(held) == 1

    return value
