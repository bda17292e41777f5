"""Which texts are GJSON paths. The right ones are those of Katib's examples, of its documentation
and of GJSON's own description of its syntax."""

import pytest

from trialbus.contracts.katib.condition_rules import path_problem

RIGHT = [
    'status.conditions.#(type=="Complete")#|#(status=="True")#',
    'status.conditions.#(type=="Succeeded")#|#(status=="False")#',
    'status.[@this].#(phase=="Succeeded")#',
    "status.[@this].#(succeeded==1)",
    "status.succeeded",
    "status.conditions.#",
    "status.conditions.#.type",
    "status.conditions.0.type",
    r"metadata.labels.a\.b/c",
    "child*.2",
    "c?ildren.0",
    'friends.#(last=="Murphy").first',
    'friends.#(nets.#(=="fb"))#.first',
    'children.#(!%"*a*")',
    "friends.#(age>45)#.last",
    "friends.#( age >= 45 )#",
    "friends.#(first%~x)#",
    'friends.#(first%"*a*b*")#',
    "vals.#(b==~true)#.a",
    "status.conditions.#(type==Complete)",
    "status.conditions.#(type)",
    'a.#(b="c)d").e',
    r'a.#(b=="c\"d")',
    "children|@reverse|0",
    '@pretty:{"sortKeys":true}',
    '@flatten:{"deep":true}',
    "@this",
    "[name.first,age]",
    '{name.first,age,"the_murphys":friends.#(last=="Murphy")#.first}',
    "..#.name",
]
WRONG = [
    ("", "a part is empty"),
    (".", "a part is empty"),
    ("status..phase", "a part is empty at position 8"),
    ("status.", "a part is empty"),
    ('status.conditions.#(type=="Complete"', ") is missing"),
    ('status.conditions.#(type=="Complete)', "a quote is missing"),
    ('status.conditions.(type=="Complete")', "belongs to a query"),
    ("status.phase)", "belongs to a query"),
    ('status."phase"', "belongs to a query"),
    ("a.#()", "a query is empty"),
    ("a.#(b==)", "compares with nothing"),
    ("a.#(>)", "compares with nothing"),
    ('a.#(b==""x)', "is no value"),
    ('a.#(b]=="x")', "another bracket is open"),
    ('a.#(b=="x")y', ". or | is expected"),
    ("a.#(b.#(c==1)", ") is missing"),
    ("a.#(b.#()==1)", "a query is empty"),
    ("a.@revers", "did you mean reverse?"),
    ("@xyz", "there is no modifier @xyz; modifiers: dig, flatten"),
    ("status.@keys", "@keys is not supported"),
    ('a.@pretty:{"x"', "is no JSON value"),
    ("[a,b", "] is missing"),
    ("{a,b", "} is missing"),
    ("[a,]", "a part is empty"),
    ("[]", "a part is empty"),
    ("[" * 5000, "nested deeper"),
    ("#(" * 5000, ") is missing"),
    ("#(" * 4000 + ")" * 4000, "longer than"),
    ("#(" * 100 + "a" + ")" * 100, "nested deeper"),
    ("@pretty:" + "[" * 9000, "is no JSON value"),
    ('status.conditions.#[type=="Complete"]', "a query is written #(name==value)"),
    ('status.conditions.#[type=="Complete"]#', "a query is written #(name==value)"),
    ('!"x"', "a literal, !value, is not supported"),
    ("status.!true", "a literal, !value, is not supported"),
    ('{first,"kind":!"person"}', "a literal, !value, is not supported"),
    ('a.#(b%"*a*a*a*b")', "more than 3 of * in one pattern"),
    ("status.*a*a*a*b", "more than 3 of * in one pattern"),
]


@pytest.mark.parametrize("path", RIGHT)
def test_a_path_is_taken(path: str) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize(("path", "words"), WRONG, ids=[path[:40] for path, _ in WRONG])
def test_what_cannot_mean_what_was_meant_is_named(path: str, words: str) -> None:
    assert words in (path_problem(path) or "")
