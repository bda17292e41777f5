"""What answers of Prometheus' read API look like."""

from typing import Annotated, Literal

from pydantic import Field

from trialbus_gateway.adapters.rest.shapes import Shape

Success = Literal["success"]
Labels = dict[str, str]
Warned = Annotated[
    list[str],
    Field(default=[], description="What the answer has to be read with; absent: nothing."),
]
Sample = Annotated[
    list[float | str],
    Field(
        min_length=2,
        max_length=2,
        description='Seconds since the epoch, and the value as a text: `"0.5"`, `"NaN"`, `"+Inf"`.',
    ),
]


class SeriesFailure(Shape):
    """Why a call failed, in Prometheus' words."""

    status: Literal["error"]
    error_type: str
    """`bad_data`: ask otherwise; `execution`: ask for less; `unavailable`: try again."""
    error: str


class SeriesNow(Shape):
    """A series at one time."""

    metric: Labels
    """Its labels, with its name as `__name__`."""
    value: Sample


class SeriesOverTime(Shape):
    """A series over time."""

    metric: Labels
    """Its labels, with its name as `__name__`."""
    values: list[Sample]


class VectorData(Shape):
    """Series at one time."""

    result_type: Literal["vector"]
    result: list[SeriesNow]


class MatrixData(Shape):
    """Series over time."""

    result_type: Literal["matrix"]
    result: list[SeriesOverTime]


class ScalarData(Shape):
    """A number that was asked for as such."""

    result_type: Literal["scalar"]
    result: Sample


class QueryAnswer(Shape):
    """The answer to a query at one time."""

    status: Success
    data: VectorData | ScalarData
    warnings: Warned


class RangeAnswer(Shape):
    """The answer to a query over time."""

    status: Success
    data: MatrixData
    warnings: Warned


class SeriesAnswer(Shape):
    """Series by their labels."""

    status: Success
    data: list[Labels]
    warnings: Warned


class NamesAnswer(Shape):
    """Names of labels, or values of one."""

    status: Success
    data: list[str]
    warnings: Warned


class SeriesMeaning(Shape):
    """What a series means."""

    type: Literal["gauge"]
    help: str
    unit: str


class MetadataAnswer(Shape):
    """By the name of a series, what it means."""

    status: Success
    data: dict[str, list[SeriesMeaning]]


class BuildData(Shape):
    """As Prometheus tells of itself."""

    version: str
    """Of Prometheus, whose read API is answered in part."""
    revision: str
    """Of the gateway."""
    branch: str
    build_user: str
    build_date: str
    go_version: str


class BuildAnswer(Shape):
    """What answers here."""

    status: Success
    data: BuildData
