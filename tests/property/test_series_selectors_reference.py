"""What our parser of selectors takes, another parser of PromQL reads alike."""

import promql_parser
from hypothesis import example, given
from hypothesis import strategies as st

from trialbus_gateway.core.selectors import BadQuery, MatchOp, Number, Selector, parse_query

OPS = {
    "MatchOp.Equal": MatchOp.EQUAL,
    "MatchOp.NotEqual": MatchOp.NOT_EQUAL,
    "MatchOp.Re": MatchOp.MATCHES,
    "MatchOp.NotRe": MatchOp.MATCHES_NOT,
}
NAMES = st.sampled_from(["trial_metric", "x", "a:b", "_", "sum", "by", "or", "inf", "start", "1"])
LABELS = st.sampled_from(["a", "namespace", "by", "__name__", "on", "_x9", "9"])
BODIES = st.text(st.sampled_from("ab-.|*+()[]\\'\"`n \n=~,é"), max_size=8)
# The other parser looks for escapes between backticks too, and takes `or` for a word of its own
# between matchers: both are said otherwise in Prometheus' documentation.
QUOTED = st.one_of(
    st.tuples(st.sampled_from("\"'"), BODIES).map(lambda it: f"{it[0]}{it[1]}{it[0]}"),
    BODIES.map(lambda it: f"`{it.replace(chr(92), '')}`"),
)
SPACES = st.sampled_from(["", "", " ", "\n"])
MATCHERS = st.tuples(SPACES, LABELS, SPACES, st.sampled_from(["=", "!=", "=~", "!~", "=="]), SPACES,
                     QUOTED, SPACES).map("".join)  # fmt: skip
LISTS = st.lists(MATCHERS, max_size=3).map(",".join)
SELECTORS = st.tuples(SPACES, st.one_of(st.just(""), NAMES), SPACES, LISTS,
                      st.sampled_from(["", ",", " ,"])).map(
    lambda it: f"{it[0]}{it[1]}{it[2]}{{{it[3]}{it[4]}}}"
)  # fmt: skip
NUMBERS = st.floats(0, 1e20).map(str)
OTHERS = st.one_of(
    NAMES,
    NUMBERS,
    st.tuples(NUMBERS, SPACES, NUMBERS).map(lambda it: f"{it[0]}{it[1]}+{it[1]}{it[2]}"),
    NUMBERS.map("vector({})".format),
    st.text(st.sampled_from('ax1{}=~!"+ ,([m])'), max_size=12),
)


@given(text=st.one_of(SELECTORS, OTHERS))
@example(text='x{a=~"b|c",namespace!="d",}')
@example(text="1+1")
def test_what_is_taken_means_the_same_to_another_parser(text: str) -> None:
    try:
        ours = parse_query(text)
    except BadQuery:
        return
    theirs = promql_parser.parse(text)
    if isinstance(ours, Number):
        assert value_of(theirs) == ours.value
        return
    assert isinstance(theirs, promql_parser.VectorSelector)
    assert theirs.offset is None
    assert theirs.at is None
    assert as_told(ours) == sorted(
        [
            *([("__name__", MatchOp.EQUAL, theirs.name)] if theirs.name else []),
            *((it.name, OPS[str(it.op)], it.value) for it in theirs.matchers.matchers),
        ]
    )


def as_told(selector: Selector) -> list[tuple[str, MatchOp, str]]:
    return sorted((it.label, it.op, it.value) for it in selector.matchers)


def value_of(found: object) -> float:
    if isinstance(found, promql_parser.NumberLiteral):
        return found.val
    if isinstance(found, promql_parser.UnaryExpr):
        return -value_of(found.expr)
    if isinstance(found, promql_parser.BinaryExpr):
        return value_of(found.lhs) + value_of(found.rhs)
    assert isinstance(found, promql_parser.Call)
    assert found.func.name == "vector"
    (argument,) = found.args
    return value_of(argument)
