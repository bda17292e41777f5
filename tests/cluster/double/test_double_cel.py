"""CEL of the double; expected values from the language's definition."""

from typing import Any

import pytest
from tests.cluster.double.cel import CelSyntax, compiled
from tests.cluster.double.cel_functions import CelError, NotThere

SELF = {"a": 1, "s": "abc", "l": [1, 2, 3], "m": {"x": True}, "f": 1.5, "parts": [{"n": "p"}]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("self.a == 1", True),
        ("self.a + 2 * 3 == 7", True),
        ("-self.a < 0", True),
        ("7 / 2 == 3 && -7 % 2 == -1", True),
        ("self.f > 1 && self.a < 1.5", True),
        ("has(self.a) && !has(self.none)", True),
        ("has(self.m.x)", True),
        ("self.a == 1 || self.none", True),
        ("!has(self.none) || self.none.deep > 1", True),
        ("self.s in ['abc', 'd']", True),
        ("'x' in self.m", True),
        ("self.l[0] == 1 && size(self.l) == 3 && self.s.size() == 3", True),
        ("self.l.all(i, i > 0) && self.l.exists(i, i == 2)", True),
        ("self.l.exists_one(i, i > 2)", True),
        ("self.l.map(i, i * 2) == [2, 4, 6]", True),
        ("self.l.filter(i, i > 1).map(i, i)", [2, 3]),
        ("self.parts.all(p, has(p.n) && p.n.startsWith('p'))", True),
        ("self.s.matches('^[a-z]+$') ? 'yes' : 'no'", "yes"),
        ("self.s.contains('b') && self.s.endsWith(\"c\")", True),
        ("'a\\n' == \"a\\n\" && r'\\d' == '\\\\d'", True),
        ("string(self.a) + 'x' == '1x' && int('3') == 3 && double('1.5') == 1.5", True),
        ("{'k': 1}['k'] == 1", True),
        ("true == (1 == 1) && null == null", True),
        ("self.l == [1, 2, 3] && self.l + [4] == [1, 2, 3, 4]", True),
        ("1 == 2 ? 'a' : 2 == 2 ? 'b' : 'c'", "b"),
    ],
)
def test_expressions_have_their_values(text: str, expected: Any) -> None:
    assert compiled(text)({"self": SELF}) == expected


@pytest.mark.parametrize(
    "text", ["self.none == 1", "self.l[9] == 1", "self.s < 1", "self.a && true", "1 / 0 == 1"]
)
def test_what_cannot_be_told_is_an_error(text: str) -> None:
    term = compiled(text)
    with pytest.raises(CelError):
        term({"self": SELF})


@pytest.mark.parametrize("text", ["self.", "1 +", "(1", "self.a = 1", "[1, 2", "has(self)", "a b"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(CelSyntax):
        compiled(text)


def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(NotThere, match="quantity"):
        compiled("quantity('1Gi').isGreaterThan(quantity('1Mi'))")
