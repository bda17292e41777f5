"""Go's regular expressions (RE2 syntax, as Katib takes them) rewritten for Python's `re`.

Both engines prefer the leftmost match and the first alternative, so only the syntax differs. What
RE2 lacks (look-around, back-references, possessive repeats) is refused, as Go refuses it; what
Python lacks (`\\p{Greek}`, `(?U)`, `\\C`) is refused with a reason.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_REPEAT = re.compile(r"\{\d+(,\d*)?\}")
_GROUP = re.compile(r"\?(?:P?<(?P<name>\w+)>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))")
_HEX = re.compile(r"x\{([0-9A-Fa-f]{1,6})\}")
_LEADING_RUN = re.compile(r"\((\[(?:[^\]\\]|\\.)+\]|\\[wS])\+\)(?![?*+{])")
_POSIX = re.compile(r"\[:(\^?\w+):\]")
_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "^digit": r"\D",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": r"\w",
    "^word": r"\W",
    "xdigit": "0-9A-Fa-f",
}


class GoRegexpError(ValueError):
    """The expression is wrong, or uses what cannot be rewritten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoRegexp:
    """A Go expression made ready: `compiled`, and the numbers of its top-level groups in order.

    `onward`: the same with a look-behind, for expressions that begin with one repeated class, as
    most metric filters do. Where such a match fails at one character of a run it fails at those
    after it, so only the beginnings of runs are tried: a long word costs linear time, not square.
    """

    compiled: re.Pattern[str]
    top_groups: tuple[int, ...]
    onward: re.Pattern[str] | None = None

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """All matches that do not overlap, as Go's `FindAllStringSubmatch` gives them."""
        if self.onward is None:
            yield from self.compiled.finditer(text)
            return
        at = 0
        while match := self.compiled.match(text, at) or self.onward.search(text, at):
            yield match
            at = match.end()


@dataclass(slots=True)
class _Frame:
    """One open parenthesis: whether it captures, and the `(?i)` flags set inside it so far."""

    captures: bool
    flags: list[str] = field(default_factory=list)


class _Rewriter:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.out: list[str] = []
        self.frames = [_Frame(captures=False)]
        self.groups = 0
        self.top_groups: list[int] = []
        self.alternatives = False

    def rewrite(self) -> str:
        steps = {
            "\\": self._escape,
            "[": self._character_class,
            "(": self._open_group,
            ")": self._close_group,
            "|": self._alternative,
            "{": self._brace,
            "*": self._repeat,
            "+": self._repeat,
            "?": self._repeat,
        }
        while self.at < len(self.source):
            char = self.source[self.at]
            step = steps.get(char)
            if step is None:
                self.out.append(char)
                self.at += 1
            else:
                step()
        if len(self.frames) > 1:
            raise GoRegexpError("missing closing )")
        self.out.append(")" * len(self.frames[0].flags))
        return "".join(self.out)

    def _escape(self) -> None:
        rest = self.source[self.at + 1 :]
        if rest.startswith("Q"):
            literal, end, _ = rest[1:].partition(r"\E")
            self.out.append(re.escape(literal))
            self.at += 2 + len(literal) + len(end)
            return
        self.out.append(self._escaped_character())

    def _escaped_character(self) -> str:
        """One backslash escape, inside a character class or outside; moves past it."""
        rest = self.source[self.at + 1 :]
        if not rest:
            raise GoRegexpError("trailing backslash at end of expression")
        if code := _HEX.match(rest):
            self.at += 1 + code.end()
            try:
                return re.escape(chr(int(code[1], 16)))
            except ValueError as exc:
                raise GoRegexpError(f"invalid escape sequence \\{code[0]}") from exc
        self.at += 2
        if rest[0] == "z":
            return r"\Z"
        if rest[0].isdigit() or rest[0] in "pPCZ":
            raise GoRegexpError(f"\\{rest[0]} is not supported")
        return "\\" + rest[0]

    def _character_class(self) -> None:
        self.at += 1
        parts = ["["]
        if self._take("^"):
            parts.append("^")
        if self._take("]"):
            parts.append(r"\]")
        while not self._take("]"):
            if self.at >= len(self.source):
                raise GoRegexpError("missing closing ]")
            parts.append(self._class_member())
        self.out.append("".join(parts) + "]")

    def _class_member(self) -> str:
        char = self.source[self.at]
        if char == "\\":
            return self._escaped_character()
        if posix := _POSIX.match(self.source, self.at):
            if posix[1] not in _POSIX_CLASSES:
                raise GoRegexpError(f"the class {posix[0]} is not supported")
            self.at = posix.end()
            return _POSIX_CLASSES[posix[1]]
        self.at += 1
        # Python reserves these for set operations.
        return "\\" + char if char in "[&~|" else char

    def _open_group(self) -> None:
        self.at += 1
        special = _GROUP.match(self.source, self.at)
        if special is None:
            if self.source.startswith("?", self.at):
                raise GoRegexpError(f"invalid or unsupported group ({self.source[self.at :][:3]}")
            self._capture()
            return
        self.at = special.end()
        if special["name"]:
            self._capture()
            return
        flags = special["flags"]
        if "U" in flags:
            raise GoRegexpError("the flag U is not supported")
        if special["end"] == ":":
            self.frames.append(_Frame(captures=False))
            self.out.append(f"(?{flags}:")
        elif flags:
            # Go's flag holds to the end of the group; Python's must enclose what it governs.
            self.frames[-1].flags.append(flags)
            self.out.append(f"(?{flags}:")
        else:
            raise GoRegexpError("missing argument to repetition operator: ?")

    def _capture(self) -> None:
        self.groups += 1
        if not any(frame.captures for frame in self.frames):
            self.top_groups.append(self.groups)
        self.frames.append(_Frame(captures=True))
        self.out.append("(")

    def _close_group(self) -> None:
        if len(self.frames) == 1:
            raise GoRegexpError("unexpected )")
        self.out.append(")" * len(self.frames.pop().flags) + ")")
        self.at += 1

    def _alternative(self) -> None:
        flags = self.frames[-1].flags
        self.alternatives |= len(self.frames) == 1
        self.out.append(")" * len(flags) + "|" + "".join(f"(?{flag}:" for flag in flags))
        self.at += 1

    def _brace(self) -> None:
        if _REPEAT.match(self.source, self.at):
            self._repeat()
            return
        self.out.append(r"\{")
        self.at += 1

    def _repeat(self) -> None:
        braces = _REPEAT.match(self.source, self.at)
        operator = braces[0] if braces else self.source[self.at]
        self.at += len(operator)
        if self._take("?"):
            operator += "?"
        following = self.source[self.at : self.at + 1]
        if following in ("*", "+", "?") or _REPEAT.match(self.source, self.at):
            raise GoRegexpError(f"invalid nested repetition operator: {operator}{following}")
        self.out.append(operator)

    def _take(self, char: str) -> bool:
        if not self.source.startswith(char, self.at):
            return False
        self.at += 1
        return True


def compile_go_regexp(source: str) -> GoRegexp:
    """Raises `GoRegexpError`. Classes like `\\w` are ASCII, as in Go; group names are dropped."""
    rewriter = _Rewriter(source)
    rewritten = rewriter.rewrite()
    try:
        compiled = re.compile(rewritten, re.ASCII)
        run = None if rewriter.alternatives else _LEADING_RUN.match(rewritten)
        onward = re.compile(f"(?<!{run[1]}){rewritten}", re.ASCII) if run else None
    except (re.error, OverflowError) as exc:
        raise GoRegexpError(str(exc)) from exc
    return GoRegexp(compiled=compiled, top_groups=tuple(rewriter.top_groups), onward=onward)
