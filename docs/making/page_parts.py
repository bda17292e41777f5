"""What generated pages are made of."""

from collections.abc import Sequence

Row = Sequence[str]
BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"


def table(head: Row, rows: Sequence[Row]) -> str:
    """A Markdown table; `|` in a cell does not end it."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def sentence(text: str) -> str:
    """`text` with a full stop."""
    return text if text.endswith((".", ":")) else f"{text}."


def capitalized(text: str) -> str:
    return text[:1].upper() + sentence(text[1:])


def between_marks(page: str, made: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with the part between the marks made anew."""
    before, _, rest = page.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise ValueError("the page has lost its marks")
    return f"{before}{begin}{made}{end}{after}"
