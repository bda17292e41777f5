"""The page of experiments' series, out of the closed set that the gateway answers with."""

from making.page_parts import table
from trialbus_gateway.core.series_kinds import KINDS


def series_page() -> str:
    rows = [
        [f"`{kind.name}`", ", ".join(f"`{label}`" for label in kind.labels), kind.about, kind.holds]
        for kind in KINDS
    ]
    return table(["series", "labels", "value", "told"], rows)
