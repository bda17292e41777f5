"""What stands on one machine for container images: their folders, programs and paths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

# Characters of file names: a path begins after and ends before none of them.
_NAME = r"\w.+~@%\-"
# Nor does it begin inside a longer path, or after a variable or pattern of a shell.
_BEFORE = rf"(?<![{_NAME}/\}})\]*?])"
_AFTER = rf"(?![{_NAME}])"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """The local folder of an image: where its containers start. programs: folders of executables,
    which come first on PATH. interpreter: its own `python`, if it has one. entrypoint: what runs
    where a container has no command, if there is such a file."""

    folder: str
    programs: tuple[str, ...] = ()
    interpreter: str | None = None
    entrypoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalImages:
    """images: name, with or without tag -> its folder. paths: path in images -> local path."""

    images: Mapping[str, ImageFolder]
    paths: Mapping[str, str]

    def find(self, image: str) -> ImageFolder | None:
        """A name with this very tag counts before one without, which is for every tag."""
        return self.images.get(image) or self.images.get(without_tag(image))

    def hint(self, missed: str, image: str, *, folder: bool = False) -> str:
        """What to say to this program so that it finds a local path, which is not there, or what
        says where it would be. image: of its container, if it is in one. folder: it is one."""
        if not image:
            return ""
        for theirs, ours in self.paths.items():
            if f"{missed}/".startswith(f"{ours.rstrip('/')}/"):
                return f" (--map-path says that {theirs} is {ours})"
        known = self.find(image)
        if known and (not missed.startswith("/") or f"{missed}/".startswith(f"{known.folder}/")):
            return f" (--map-image says that {image} is {known.folder})"
        if not missed.startswith("/"):
            flag = f"say which folder stands for that: --map-image {without_tag(image)}=DIR"
        else:
            place = missed if folder else missed.rpartition("/")[0]
            where = f"{place}=DIR" if place.strip("/") else f"{missed}=FILE"
            flag = f"say where it is here: --map-path {where}"
        return f"; if it is in the image {image}, {flag}"


NO_IMAGES = LocalImages(images={}, paths={})


class LocalPaths:
    """Replaces paths in text: whole ones and those below, also inside `--flag=/path`. The longest
    comes first, and what has been replaced is not read again."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        local = {path.rstrip("/"): to.rstrip("/") or "/" for path, to in paths.items()}
        self._local = {path: to for path, to in local.items() if path}

    def __call__(self, text: str) -> str:
        # Most texts hold no path, and a pattern of each run's own paths takes long to compile.
        if not any(path in text for path in self._local):
            return text
        return self._pattern.sub(lambda match: self._local[match[0]], text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._local, key=len, reverse=True)
        choices = "|".join(map(re.escape, longest_first))
        return re.compile(f"{_BEFORE}(?:{choices}){_AFTER}")


def without_tag(image: str) -> str:
    """`host:5000/name:tag@digest` -> `host:5000/name`."""
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"
