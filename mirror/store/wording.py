"""Which words of file names go into the full-text index, and what the words of a question stand for.

The full-text index holds the words of file names without their extensions, which would tell nothing apart and cost a tenth of it.
So extensions are taken off a question too, and are looked for in the names of the files that the rest of it finds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mirror.model import RemoteFile
from mirror.vocabulary import is_extension

EXTENSIONS = re.compile(r"(?:\.[A-Za-z0-9]{1,7})+$")
"""What follows a name as its extensions: `.7z`, `.7z.001`, `.copc.laz`."""

_WORD = re.compile(r"\w+")
_VOLUME = re.compile(r"[0-9]{3}")


def search_words(sub_id: str, files: Iterable[RemoteFile]) -> str:
    """The words of the file names that the sub-resource's own id does not hold: names mostly repeat it.

    What follows as an extension tells the files of a sub-resource apart for nobody: `.7z`, `.7z.001`, `.copc.laz`.
    """
    rests = {EXTENSIONS.sub("", file.name.removeprefix(sub_id)) for file in files}
    words = {word for rest in rests for word in _WORD.findall(rest)}
    return " ".join(sorted(words.difference(_WORD.findall(sub_id))))


@dataclass(frozen=True, slots=True)
class Question:
    """A text as it is looked for. All of it must be found; `names` and `extensions` in the name of a file."""

    words: tuple[str, ...]
    """What remains for the full-text index, the stems of `names` included."""

    free: tuple[str, ...]
    """The words that are no part of a name."""

    names: tuple[str, ...]
    """Words with extensions, such as a pasted file name; folded."""

    extensions: tuple[str, ...]
    """Extensions alone: `md5`, `.dbf`, `001`; folded."""

    everything: tuple[str, ...]
    """All words, however they were taken."""

    @property
    def of_names(self) -> bool:
        """Whether file names have a say in it."""
        return bool(self.names or self.extensions)

    def ends_of(self, name: str) -> set[str] | None:
        """Which of the extensions a file name has; None where it lacks one of the names."""
        folded = plain(name)
        if not all(part in folded for part in self.names):
            return None
        return {end for end in self.extensions if f".{end}." in f"{folded}."}

    def words_in(self, name: str, told: Collection[str]) -> bool:
        """Whether a file name has all free words but those that are `told` elsewhere."""
        folded = plain(name)
        return all(word in told or plain(word) in folded for word in self.free)

    def all_in(self, name: str) -> bool:
        """Whether a file name has every word of the text somewhere."""
        folded = plain(name)
        return all(plain(word) in folded for word in self.everything)


def question_of(text: str) -> Question:
    """Take a text apart. What users type is never read as a query language."""
    free: list[str] = []
    stems: list[str] = []
    names: list[str] = []
    extensions: list[str] = []
    for path in text.split():
        # A path, as tables show it where a name alone is not enough, is the words of its folders and a name.
        folders, _, part = path.rpartition("/")
        free += words_of(folders)
        stem = EXTENSIONS.sub("", part)
        alone = part.removeprefix(".")
        if is_extension(alone) or _VOLUME.fullmatch(alone):
            extensions.append(plain(alone))
        elif stem != part and words_of(stem):
            names.append(plain(part))
            stems += words_of(stem)
        else:
            free += words_of(part)
    return Question((*free, *stems), tuple(free), tuple(names), tuple(extensions), tuple(words_of(text)))


def words_of(text: str) -> list[str]:
    """The words of a text, as the full-text index splits it."""
    return re.findall(r"[^\W_]+", text)


def match_of(words: Sequence[str]) -> str:
    """Every word, or the beginning of it, in any order, as FTS5 wants it."""
    return " AND ".join(f'"{word}"*' for word in words) or '""'


def plain(text: str) -> str:
    """Without case and diacritics, as the full-text index compares."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
