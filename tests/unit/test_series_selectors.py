"""Selectors of Prometheus' language: what is read, how, and what is refused with a reason."""

import pytest

from trialbus_gateway.core.selectors import (
    BadQuery,
    Matcher,
    MatchOp,
    Number,
    Selector,
    parse_query,
    parse_selector,
)


def test_a_name_and_matchers_are_read_in_their_order() -> None:
    found = parse_query(" trial_objective { namespace=\"lab\", experiment!='x' ,phase=~`S.*`, } ")
    assert isinstance(found, Selector)
    assert [(it.label, it.op.value, it.value) for it in found.matchers] == [
        ("__name__", "=", "trial_objective"),
        ("namespace", "=", "lab"),
        ("experiment", "!=", "x"),
        ("phase", "=~", "S.*"),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'x{a="q\"b"}', 'q"b'),
        (r"x{a='q\'b'}", "q'b"),
        (r'x{a="1\n2\t3\\d"}', "1\n2\t3\\d"),
        ("x{a=`\\d`}", "\\d"),
        ('x{a=""}', ""),
    ],
)
def test_strings_are_read_as_go_reads_them(text: str, value: str) -> None:
    assert parse_selector(text).of("a")[0].value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{a=""}',
        '{a=~".*"}',
        '{a!="x"}',
        "sum(x)",
        "rate(x[5m])",
        "x[5m]",
        "x offset 5m",
        "x @ 4",
        "x + y",
        "x > 0.5",
        "-x",
        "x{a}",
        'x{a="b" c="d"}',
        'x{a="b"',
        'x{a="b"} y',
        "x{,}",
        "x{a=b}",
        'x{a="\\q"}',
        'x{a=~"("}',
        'x{__name__="y"}',
        'or{a="b"}',
        "inf",
        "1 + 2 + 3",
        "vector(x)",
        '{"x"}',
        "x" * 20_000,
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(BadQuery):
        parse_query(text)


def test_a_refusal_says_where_and_what_is_possible() -> None:
    with pytest.raises(BadQuery, match=r"at character 2: unexpected '\[5m\]'; only a selector"):
        parse_query("x[5m]")


def test_numbers_by_which_clients_check_an_address_are_read() -> None:
    assert parse_query("1+1") == Number(value=2.0)
    assert parse_query(" 1.5e3 ") == Number(value=1500.0)
    assert parse_query("vector( 1 )") == Number(value=1.0, is_vector=True)


def test_expressions_fit_whole_values_and_absent_labels_are_empty() -> None:
    (matcher,) = parse_selector('x{a=~"b.d"}').of("a")
    assert matcher.fits("bcd")
    assert matcher.fits("b\nd")
    assert not matcher.fits("abcde")
    (without,) = parse_selector('x{a!~"b"}').of("a")
    assert without.fits("")
    assert not without.fits("b")


@pytest.mark.parametrize(
    ("matchers", "named"),
    [
        ('a="b"', {"b"}),
        ('a=~"b|c-d"', {"b", "c-d"}),
        ('a=~"(b|c)"', {"b", "c"}),
        ('a=~"b|c",a!="c"', {"b"}),
        ('a=~"b|c",a=~"c|d"', {"c"}),
        ('a=~"b.*"', None),
        ('a!="b"', None),
    ],
)
def test_values_that_are_named_one_by_one_are_known(matchers: str, named: set[str] | None) -> None:
    assert parse_selector(f"x{{{matchers}}}").named("a") == named


def test_a_matcher_of_another_label_says_nothing_of_this_one() -> None:
    selector = Selector(matchers=(Matcher(label="a", op=MatchOp.EQUAL, value="b"),))
    assert selector.fits("c", "anything")
    assert selector.named("c") is None
