"""What a report was called with."""

from collections.abc import Mapping


def read_report(
    step: int | Mapping[str, float] | None,
    metrics: Mapping[str, float] | None,
    values: Mapping[str, float],
) -> tuple[int | None, dict[str, float]]:
    """`(3, loss=0.1)`, `({"f1/a": 0.1})`, `(3, {"f1/a": 0.1})` or `(loss=0.1)` -> step and values.
    Raises ValueError."""
    if isinstance(step, Mapping):
        if metrics is not None:
            raise ValueError("a report is (step, {metrics}), ({metrics}) or (step, loss=...)")
        step, metrics = None, step
    found = {str(name): float(value) for name, value in {**(metrics or {}), **values}.items()}
    if not found:
        raise ValueError("a report holds at least one metric")
    return None if step is None else int(step), found
