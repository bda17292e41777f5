"""The list of algorithms and stopping rules, and the tables of settings on their pages."""

import re
from collections.abc import Mapping
from pathlib import Path

from making.page_parts import between_marks, capitalized, sentence, table
from trialbus.kernel.catalogue import (
    AlgorithmDescription,
    Description,
    Setting,
    StoppingRuleDescription,
)
from trialbus.kernel.space_rules import PARAMETER_TYPES
from trialbus_early_stopping.core.catalogue import BUILT_IN as STOPPING_RULES
from trialbus_suggestion.core.catalogue import BUILT_IN

DOCS = Path(__file__).resolve().parents[1]
SETTINGS_BEGIN, SETTINGS_END = "<!-- settings -->\n", "<!-- /settings -->\n"
# Kind of description -> the folder of the pages that people write about each.
PAGES: Mapping[type, Path] = {
    AlgorithmDescription: DOCS / "algorithms",
    StoppingRuleDescription: DOCS / "stopping-rules",
}
LOOK_AHEAD = {"free": "any number", "pending": "as many as run", "none": "none"}


def algorithms_page() -> str:
    """One line each; their own pages tell the rest."""
    algorithms = [
        [_link(it), _first_sentence(it.meaning), _searched(it), LOOK_AHEAD[it.look_ahead]]
        for it in BUILT_IN
    ]
    rules = [[_link(it), _first_sentence(it.meaning)] for it in STOPPING_RULES]
    return (
        "## Algorithms\n\n"
        + table(["algorithm", "how it searches", "what it searches", "points ahead"], algorithms)
        + "\n## Stopping rules\n\n"
        + table(["rule", "what it stops"], rules)
    )


def _link(it: Description) -> str:
    return f"[`{it.name}`](../{PAGES[type(it)].name}/{it.name}.md)"


def _first_sentence(text: str) -> str:
    return capitalized(re.split(r"(?<=[.;:])\s", text)[0].rstrip(".;:"))


def _searched(it: AlgorithmDescription) -> str:
    if "parameters" not in it.searches:
        return "`nasConfig`"
    types = ", ".join(sorted(it.parameter_types))
    return "all types" if it.parameter_types == set(PARAMETER_TYPES) else types


def settings_table(it: Description) -> str:
    """With blank lines around it, as Markdown wants it between comments."""
    rows = [[f"`{s.name}`", _default(s), sentence(capitalized(s.meaning))] for s in it.settings]
    return f"\n{table(['setting', 'default', 'meaning'], rows)}\n" if rows else "\nNone.\n\n"


def _default(setting: Setting) -> str:
    if setting.required:
        return "required"
    return "none" if setting.default is None else f"`{setting.default}`"


def pages_of_descriptions() -> dict[Path, str]:
    """The pages that people wrote, with their tables of settings made anew."""
    found = [(PAGES[type(it)] / f"{it.name}.md", it) for it in (*BUILT_IN, *STOPPING_RULES)]
    return {
        path: between_marks(path.read_text(), settings_table(it), SETTINGS_BEGIN, SETTINGS_END)
        for path, it in found
        if path.exists()  # tests/tidy asks for all of them
    }
