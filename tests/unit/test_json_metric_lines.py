"""Metrics out of lines of JSON, and the times that they tell."""

import math

import pytest

from trialbus.kernel.json_metric_lines import JsonMetricReader, json_names_in, number_of
from trialbus.kernel.line_streams import Point
from trialbus.kernel.timestamps import epoch_seconds, rfc3339_seconds

NOW = 1000.0


def read(data: bytes, *wanted: str) -> list[Point]:
    reader = JsonMetricReader(wanted or ("loss", "accuracy"))
    return reader.feed(data, NOW) + reader.finish(NOW)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("1", 1.0),
        ("-1e-3", -0.001),
        ('"0.9"', 0.9),
        ('" 0.9 "', 0.9),
        ('"1."', 1.0),
        ('".5"', 0.5),
        ('"-Inf"', -math.inf),
        ("Infinity", math.inf),
        ("1e999", math.inf),
        ("9" * 5000, math.inf),
        ("-" + "9" * 5000, -math.inf),
    ],
)
def test_a_value_is_a_number_or_the_text_of_one(text: str, value: float) -> None:
    line = f'{{"loss": {text}}}\n'.encode()
    assert read(line) == [Point("loss", value, NOW, len(line))]


@pytest.mark.parametrize("text", ['"NaN"', '"nan"', "NaN", '"-nan"'])
def test_nan_is_a_value(text: str) -> None:
    (point,) = read(f'{{"loss": {text}}}'.encode())
    assert math.isnan(point.value)


@pytest.mark.parametrize("text", ["true", "null", '{"value": 1}', "[1]"])
def test_other_values_are_ignored(text: str) -> None:
    line = f'{{"loss": {text}, "accuracy": 1}}\n'.encode()
    assert read(line) == [Point("accuracy", 1.0, NOW, len(line))]


@pytest.mark.parametrize("text", ["none", "0x10", "1_000", "0.5%", "", "٣"])
def test_text_that_is_no_number_is_counted(text: str) -> None:
    reader = JsonMetricReader(["loss"])
    assert reader.feed(f'{{"loss": "{text}"}}\n'.encode(), NOW) == []
    assert reader.rejected_values == 1


def test_a_text_that_says_something_is_a_value() -> None:
    line = rb'{"loss": "Genotype(\ud800)"}' + b"\n"
    [point] = JsonMetricReader(["loss"]).feed(line, NOW)
    assert (point.metric, point.text) == ("loss", "Genotype( )")
    assert math.isnan(point.value)


def test_a_long_text_that_is_no_number_takes_linear_time() -> None:
    # In square time this is 10^12 steps, hours; in linear time a few milliseconds.
    assert number_of("9" * 10**6 + "x") is None
    assert epoch_seconds("9" * 10**6 + "x") is None


MESS = [
    b"no JSON",
    b'{"loss": 1',
    b"[1]",
    b'"loss"',
    b"7",
    b"\xff\xfe",
    b"[" * 60_000,
    b"{}}",
    b"\x00",
]


@pytest.mark.parametrize("mess", MESS, ids=range(len(MESS)))
def test_a_line_that_is_no_object_is_skipped_and_counted(mess: bytes) -> None:
    reader = JsonMetricReader(["loss"])
    data = b'{"loss": 1}\n' + mess + b'\n\n  \n{"loss": 2}\r\n'
    assert [point.value for point in reader.feed(data, NOW)] == [1.0, 2.0]
    assert reader.malformed_lines == 1


@pytest.mark.parametrize(
    ("text", "at"),
    [
        # Katib reads the fraction's digits as nanoseconds: 1638422847.000028721.
        ("1638422847.28721", 1638422847.28721),
        ('"1638422847.28721"', 1638422847.28721),
        ("100", 100.0),
        ('"100"', 100.0),
        ("-1.5", -1.5),
        ('"2021-12-02T05:27:27.28721Z"', 1638422847.28721),
        ('"2021-12-02T05:27:27.287210999Z"', 1638422847.28721),
        ('"2021-12-02T07:27:27+02:00"', 1638422847.0),
        ('"yesterday"', NOW),
        ('"2021-13-02T05:27:27Z"', NOW),
        ("null", NOW),
        ("true", NOW),
        ("[1]", NOW),
        ("NaN", NOW),
        ("1e300", NOW),
        ('"inf"', NOW),
    ],
)
def test_the_timestamp_is_read_exactly_or_else_it_is_now(text: str, at: float) -> None:
    (point,) = read(f'{{"timestamp": {text}, "loss": 1}}'.encode())
    assert point.at == at


def test_points_of_a_line_share_its_end_and_come_in_its_order() -> None:
    data = b'{"accuracy": 1, "other": 5, "loss": 2}\n{"loss": 3}\n'
    assert read(data) == [
        Point("accuracy", 1.0, NOW, 39),
        Point("loss", 2.0, NOW, 39),
        Point("loss", 3.0, NOW, 51),
    ]


def test_the_timestamp_is_never_a_metric() -> None:
    assert read(b'{"timestamp": 5}\n', "timestamp") == []


def test_names_are_those_of_numbers() -> None:
    data = b'{"a": 1, "timestamp": 5, "b": "0.5", "c": "x", "d": [1]}\nx\n{"a": 2, "e": 0}'
    assert json_names_in(data) == ["a", "b", "e"]


def test_times_have_the_years_that_they_are_written_with() -> None:
    assert rfc3339_seconds("0001-01-01T00:00:00Z") == epoch_seconds(-62135596800) == -62135596800.0
    assert rfc3339_seconds("9999-12-31T23:59:59Z") == epoch_seconds("253402300799")
    assert rfc3339_seconds("9999-12-31T23:59:59-01:00") is None
    assert rfc3339_seconds("0001-01-01T00:00:00+01:00") is None
    assert epoch_seconds(253402300800) is None
    assert rfc3339_seconds("2021-12-02 05:27:27Z") is None
    assert epoch_seconds(10**400) is None
