"""Metrics out of output bytes: what is read, what is left alone, and that memory stays small."""

import math
import tracemalloc

import pytest

from trialbus.kernel.errors import Refused
from trialbus.kernel.go_regexps import GoRegexpError, compile_go_regexp
from trialbus.kernel.limits import MAX_LINE_MATCHES
from trialbus.kernel.line_streams import Point
from trialbus.kernel.metric_lines import DEFAULT_METRIC_FORMAT, LineParser, MetricFilter

NOW = 1000.0
WANTED = ("loss", "accuracy", "val-loss", "a|b", "train/acc")


def read(data: bytes, *formats: str, wanted: tuple[str, ...] = WANTED) -> list[Point]:
    parser = LineParser(MetricFilter.compile(formats), wanted)
    return parser.feed(data, NOW) + parser.finish(NOW)


def values(data: bytes, *formats: str) -> list[tuple[str, str]]:
    return [(point.metric, repr(point.value)) for point in read(data, *formats)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("888", 888.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("+3", 3.0),
        ("1e-3", 0.001),
        ("1E+3", 1000.0),
        ("2.5e2", 250.0),
        ("1.e2", 100.0),
        ("1e999", math.inf),
        ("-1e999", -math.inf),
        ("1e-999", 0.0),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("+Inf", math.inf),
        ("Infinity", math.inf),
        ("-INFINITY", -math.inf),
        ("0.5%", 0.5),
        ("12ms", 12.0),
        ("0.5,", 0.5),
        ("0.5]", 0.5),
        ("9" * 400, math.inf),
        ("0" * 30_000 + "7", 7.0),
    ],
)
def test_a_number_is_read_right_and_whole(text: str, value: float) -> None:
    assert [point.value for point in read(f"loss={text}\n".encode())] == [value]


@pytest.mark.parametrize("text", ["nan", "NaN", "NAN", "-nan", "+nan", "nan,", "nan]"])
def test_nan_is_a_value(text: str) -> None:
    (point,) = read(f"loss={text}\n".encode())
    assert math.isnan(point.value)


@pytest.mark.parametrize(
    "text", ["", " ", "abc", "-", "+", ".", "e5", "nano", "info", "infinite", "None", "=3", "nan_1"]
)
def test_a_name_without_a_number_is_no_metric_and_is_counted(text: str) -> None:
    parser = LineParser(MetricFilter.compile(), WANTED)
    data = f"loss={text}\naccuracy=1\n".encode()
    assert parser.feed(data, NOW) == [Point("accuracy", 1.0, NOW, len(data))]
    assert parser.rejected_values == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"epoch 1: loss=0.5, accuracy = 0.9\n", [("loss", "0.5"), ("accuracy", "0.9")]),
        (b"loss \t=\t 0.5\n", [("loss", "0.5")]),
        (b"val-loss=0.5\n", [("val-loss", "0.5")]),
        (b"val_loss=0.5 xloss=1 --loss=2 |loss=3 loss2=4 losses=5\n", []),
        (b"a|b=0.5\n", [("a|b", "0.5")]),
        (b"train/acc=0.5 other/loss=1\n", [("train/acc", "0.5"), ("loss", "1.0")]),
        (b"Loss=0.5\n", []),
        (b"loss=1 loss=2\n", [("loss", "1.0"), ("loss", "2.0")]),
        (b"loss\n=\n0.5\n", []),
        (b"loss=\n0.5\n", []),
        (b"{loss=0.5}(accuracy=1)\n", [("loss", "0.5"), ("accuracy", "1.0")]),
        (b"loss: 0.5\n", []),
    ],
)
def test_the_default_filter_reads_what_katib_reads(
    line: bytes, expected: list[tuple[str, str]]
) -> None:
    assert values(line) == expected
    assert values(line, DEFAULT_METRIC_FORMAT) == expected


MESS = {
    "NUL bytes": b"\x00\x00\x00",
    "invalid UTF-8": b"\xff\xfe\x80 loss\xff=1 \xc3",
    "a cut character": b"\xe2\x82",
    "lone surrogate": b"\xed\xa0\x80",
    "only separators": b"=====|-|=| = =",
    "empty value": b"loss= accuracy=",
    "unfinished escape": b"\x1b[31",
    "lone escape": b"\x1b",
    "unended window title": b"\x1b]0;title",
    "a name glued to NUL": b"lo\x00ss=3",
    "a long line": b"x" * 70_000 + b" loss=3",
    "a long line of names": b"loss" * 17_000,
    "a long line of metrics": b"loss=3 " * 10_000,
    "a long number without a name": b"9" * 65_000,
    "many blanks": b"loss" + b" " * 65_000,
    "many names": b" ".join(b"m%d=1" % n for n in range(8_000)),
    "a hundred thousand names": b"\n".join(b"m%d=1" % n for n in range(100_000)),
    "negative step": b"step=-1",
    "huge step": b"step=1e400 step=" + b"9" * 5000,
    "carriage returns": b"\r\r\r\n\r",
    "blank lines": b"\n\n\r\n\n",
    "unicode line breaks": "x\u2028y\u0085z\x0b\x0c\x1c".encode(),
    "a false time": b"2024-02-30T25:61:61Z x",
    "a JSON line": b'{"loss": 0.5}',
    "binary": bytes(range(256)).replace(b"\n", b"").replace(b"\r", b""),
}


@pytest.mark.parametrize("mess", MESS.values(), ids=MESS.keys())
@pytest.mark.parametrize("formats", [(), (r"([\w|-]+)\s*=\s*([+-]?\d+(\.\d+)?)",)])
def test_valid_lines_around_malformed_ones_are_all_kept(
    mess: bytes, formats: tuple[str, ...]
) -> None:
    data = b"loss=0.25\n" + mess + b"\naccuracy=0.75\n" + mess + b"\nloss=0.125"
    assert values(data, *formats) == [("loss", "0.25"), ("accuracy", "0.75"), ("loss", "0.125")]


@pytest.mark.parametrize(
    "line",
    [
        b"\x1b[32mloss\x1b[0m=\x1b[1;31m0.5\x1b[0m\n",
        b"\x1b[38;2;1;2;3mlo\x1b[0mss=0.5\n",
        b"\x1b[2K\x1b[1Gloss=0.5\x1b[K\n",
        b"\x1b]0;training\x07loss=0.5\n",
        b"\x1b]8;;http://x\x1b\\loss=0.5\x1b]8;;\x1b\\\n",
        b"done\x1b[Aloss=0.5\n",
    ],
)
def test_metrics_are_found_through_colours_and_cursor_movements(line: bytes) -> None:
    assert read(line) == [Point("loss", 0.5, NOW, len(line))]


def test_each_refresh_of_a_progress_bar_is_a_line() -> None:
    data = b" 50%|##   | 1/2 [00:01<00:01, loss=0.5]\r100%|#####| 2/2 [00:02<00:00, loss=0.25]\n"
    first_end = data.index(b"\r") + 1
    assert read(data) == [
        Point("loss", 0.5, NOW, first_end),
        Point("loss", 0.25, NOW, len(data)),
    ]


def test_offsets_count_bytes_of_the_stream_as_it_is() -> None:
    data = "é loss=1\r\nж\x1b[1mж loss=2\nloss=3".encode()
    ends = [data.index(b"\r") + 1, data.index(b"\nloss=3") + 1, len(data)]
    assert [point.end_byte for point in read(data)] == ends


def test_an_unended_last_line_waits_for_the_end_of_the_stream() -> None:
    parser = LineParser(MetricFilter.compile(), ["loss"])
    assert parser.feed(b"loss=0.1\nloss=0.", NOW) == [Point("loss", 0.1, NOW, 9)]
    assert parser.consumed == 9
    assert parser.finish(NOW + 1) == [Point("loss", 0.0, NOW + 1, 16)]
    assert parser.consumed == 16


def test_a_reader_may_start_at_a_line_in_the_middle() -> None:
    data = b"loss=1\nloss=2\nloss=3\n"
    parser = LineParser(MetricFilter.compile(), ["loss"], start=7)
    assert parser.feed(data[7:], NOW) == [
        Point("loss", 2.0, NOW, 14),
        Point("loss", 3.0, NOW, 21),
    ]
    assert parser.consumed == 21


@pytest.mark.parametrize(
    ("word", "at"),
    [
        ("1970-01-01T00:01:40Z", 100.0),
        ("1970-01-01T00:01:40.5Z", 100.5),
        ("1970-01-01T00:01:40.123456789Z", 100.123456),
        ("1970-01-01T01:01:40+01:00", 100.0),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("9999-12-31T23:59:59Z", 253402300799.0),
        ("9999-12-31T23:59:59-14:00", NOW),
        ("1970-02-30T00:00:00Z", NOW),
        ("1970-01-01T00:00:60Z", NOW),
        ("1970-01-01 00:01:40", NOW),
        ("1970-01-01T00:01:40", NOW),
        ("19700101T000140Z", NOW),
        ("x 1970-01-01T00:01:40Z", NOW),
    ],
)
def test_the_first_word_is_the_time_if_it_is_one(word: str, at: float) -> None:
    assert [point.at for point in read(f"{word} loss=1\n".encode())] == [pytest.approx(at)]


def test_a_line_at_the_limit_is_read_and_one_byte_more_is_skipped_and_counted() -> None:
    fits = b"loss=1" + b" " * 94
    for data in (
        fits + b"\n" + fits + b" \n",
        fits + b" \n" + fits + b"\n",
        fits + b"\n" + fits + b" ",
    ):
        parser = LineParser(MetricFilter.compile(), ["loss"], line_bytes=100)
        assert len(parser.feed(data, NOW) + parser.finish(NOW)) == 1
        assert parser.skipped_lines == 1
        assert parser.consumed == len(data)


def test_a_restart_within_a_too_long_line_starts_at_its_beginning() -> None:
    parser = LineParser(MetricFilter.compile(), ["loss"], line_bytes=100)
    parser.feed(b"loss=1\n" + b"x" * 500, NOW)
    assert parser.skipped_lines == 1
    parser.feed(b"y" * 500, NOW)
    assert parser.consumed == 7
    assert parser.feed(b"loss=2\nloss=3\n", NOW) == [Point("loss", 3.0, NOW, 1021)]
    assert (parser.consumed, parser.skipped_lines) == (1021, 1)


def test_a_line_of_100_megabytes_costs_less_than_a_few_blocks_of_memory() -> None:
    block = b"loss=1 " * 149_796  # 1 MiB
    parser = LineParser(MetricFilter.compile(), ["loss"])
    tracemalloc.start()
    try:
        points = parser.feed(b"loss=0.5\n", NOW)
        for _ in range(100):
            points += parser.feed(block, NOW)
        points += parser.feed(b"\nloss=0.25\n", NOW)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [point.value for point in points] == [0.5, 0.25]
    assert parser.skipped_lines == 1
    assert peak < 4 * 1024 * 1024


def test_no_wanted_name_is_no_point() -> None:
    assert read(b"loss=1\n=2\n", wanted=()) == []
    assert read(b"loss=1\n=2\n", wanted=("",)) == []


OWN = r"{metricName: ([\w|-]+), metricValue: ((-?\d+)(\.\d+)?)}"


@pytest.mark.parametrize(
    ("format_", "line", "expected"),
    [
        (OWN, b"{metricName: loss, metricValue: -0.5}\n", [("loss", "-0.5")]),
        (OWN, b"loss=0.5\n", []),
        (r"((?:lo|x)(ss)): (\S+)", b"loss: 0.5\n", [("loss", "0.5")]),
        (r"(?i)(LOSS)=(.*)", b"loss=1e3\n", [("loss", "1000.0")]),
        (r"x|(?i)(LOSS)=(\d)", b"loss=1\n", [("loss", "1.0")]),
        (r"(?P<name>\w+)=(?P<value>[[:digit:]]+)\z", b"loss=5\n", [("loss", "5.0")]),
        (r"(.*)=(.*)", b" loss = 0.5 \n", [("loss", "0.5")]),
        (r"(.*)=(.*)", b"loss=none\n", []),
        (r"(.*)=(.*)", b"loss=1_000\n", []),
        (r"(.*)=(.*)", "loss=٣\n".encode(), []),
        (r"(\w+)é=(\d)", "lossé=1\n".encode(), [("loss", "1.0")]),
        (r"([\w]+)=([\d])", b"x=1loss=2\n", [("loss", "2.0")]),
    ],
)
def test_a_users_filter_is_read_as_go_reads_it(
    format_: str, line: bytes, expected: list[tuple[str, str]]
) -> None:
    assert values(line, format_) == expected


def test_two_filters_that_see_the_same_place_give_one_point_and_order_is_by_place() -> None:
    data = b"accuracy: 0.9 loss=0.5\n"
    formats = (r"(\w+)=(\d\.\d)", r"(\w+)[=:] *(\d\.\d)")
    assert values(data, *formats) == [("accuracy", "0.9"), ("loss", "0.5")]
    assert values(data, DEFAULT_METRIC_FORMAT, formats[1]) == [("accuracy", "0.9"), ("loss", "0.5")]


GENOTYPE = (
    "Genotype(normal=[[('max_pooling_3x3',0),('max_pooling_3x3',1)]],normal_concat=range(2,3))"
)


def test_what_a_users_own_filter_captures_may_be_a_text() -> None:
    line = f"Best-Genotype={GENOTYPE}\nBest-Genotype=0.5 of it\n".encode()
    found = read(line, r"([\w-]+)=(Genotype.*|0.5)", wanted=("Best-Genotype",))
    assert [(point.metric, point.text) for point in found] == [
        ("Best-Genotype", GENOTYPE),
        ("Best-Genotype", ""),
    ]
    assert [repr(point.value) for point in found] == ["nan", "0.5"]


def test_with_the_default_filter_only_numbers_count() -> None:
    assert read(f"loss={GENOTYPE}\n".encode()) == []
    assert read(f"loss={GENOTYPE}\n".encode(), DEFAULT_METRIC_FORMAT) == []


def test_a_users_filter_takes_linear_time_over_a_long_word() -> None:
    expression = compile_go_regexp(r"([\w|-]+)\s*=\s*((-?\d+)(\.\d+)?)")
    # In square time this is 10^12 steps, hours; in linear time a few milliseconds.
    assert list(expression.matches("loss" * 250_000)) == []


def test_a_long_value_that_is_no_number_takes_linear_time() -> None:
    parser = LineParser(MetricFilter.compile([r"(\w+)=(\w+)"]), ["loss"], line_bytes=2 * 10**6)
    assert parser.feed(b"loss=" + b"9" * 10**6 + b"x\n", NOW) == []
    assert parser.rejected_values == 1


def test_of_one_line_so_many_matches_are_looked_at_and_no_more() -> None:
    line = b"x=1 " * (MAX_LINE_MATCHES - 1) + b"loss=2 loss=3\n"
    parser = LineParser(MetricFilter.compile([r"(\w+)=(\d)"]), ["loss"], line_bytes=len(line))
    assert [point.value for point in parser.feed(line, NOW)] == [2.0]


@pytest.mark.parametrize(
    "format_",
    [
        r"(\w+=\d+)",
        r"((\w+)=(\d+))",
        r"(\w+)=(\d+",
        r"(\w+)=\d+)",
        r"(\w+)=(?=\d)(\d+)",
        r"(\w+)=(\d+)\1",
        r"(\w++)=(\d+)",
        r"(\w+)=(\d**)",
        r"(\w+)=([\d+)",
        r"(\w+)=(\C+)",
        r"(\w+)=(\d{1001})",
        "(\\w+)=(\\d+)\\",
    ],
)
def test_a_filter_that_go_cannot_take_is_refused_with_its_place(format_: str) -> None:
    with pytest.raises(Refused) as refusal:
        MetricFilter.compile([OWN, format_])
    (problem,) = refusal.value.problems
    assert problem.field == "metricsFormat[1]"
    assert repr(format_) in problem.message


@pytest.mark.parametrize(
    ("source", "text", "groups"),
    [
        (r"\Qa.b\E(c)", "a.bc", ("c",)),
        (r"[]a]+(x)", "]ax", ("x",)),
        (r"[[:^digit:]]([^]a[])", "xb", ("b",)),
        (r"a{,2}(b)", "a{,2}b", ("b",)),
        (r"a{2}(b)", "aab", ("b",)),
        (r"\x{41}(\x42)", "AB", ("B",)),
        (r"((?i)a|b)C", "BC", ("B",)),
        (r"(?s-i:.)(x+?)", "\nx", ("x",)),
        (r"[a&&b~~|](x)", "&x", ("x",)),
        (r"(?U)(a+)(a*)", "aaa", ("a", "aa")),
        (r"(\pL+)(\p{Greek})", "xéα", ("xé", "α")),
        (r"(a|ab)(c|bcd)(d*)", "abcd", ("a", "bcd", "")),
    ],
)
def test_syntax_means_what_it_means_in_go(source: str, text: str, groups: tuple[str, ...]) -> None:
    match = compile_go_regexp(source).compiled.fullmatch(text)
    assert match is not None
    assert match.groups() == groups


def test_top_groups_are_those_not_within_another() -> None:
    assert compile_go_regexp(r"((a)(b))(?:(c))|(?P<d>d(e))").top_groups == (1, 4, 5)
    assert compile_go_regexp(r"[](]\((x)\Q(\E(?<n>y)[[:alpha:](](z)(?i)(w)").top_groups == (
        1,
        2,
        3,
        4,
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (r"(?<!a)b", "Go's expressions have no such group: (?<!"),
        (r"(a)\1", r"Go's expressions have no such escape: \1"),
        (r"a\C", r"Go's expressions have no such escape: \C"),
        (r"(a", "missing ): (a"),
        ("\ud800", "invalid UTF-8"),
    ],
)
def test_what_is_wrong_with_an_expression_is_said(source: str, words: str) -> None:
    with pytest.raises(GoRegexpError) as refusal:
        compile_go_regexp(source)
    assert str(refusal.value) == words
