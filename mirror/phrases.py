"""What is said to people, as a value: English text that also knows how to be said in another language. Pure.

Whoever decides, decides in words: why a file is fetched again is a `phrase`. It is the English text, a `str` like any other, and so
goes into the index, JSON and logs as it always did. Only where people read it in their language is it put into that, at the edge
(`mirror.language`). What is made of phrases by f-strings or `+` is plain text, and stays English: `phrase` and `joined` take them
as arguments instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from mirror.amounts import (
    Notation,
    availability_text,
    day_text,
    latency_text,
    moment_text,
    number_text,
    seconds_text,
    share_text,
    size_text,
    span_text,
    speed_text,
    tight_share_text,
)

T = TypeVar("T")


class Words(Protocol):
    """The words of a language, as gettext finds them, and its notation."""

    @property
    def notation(self) -> Notation:
        """How it writes amounts."""

    def word(self, msgid: str) -> str:
        """A message, with the braces of its arguments."""

    def words(self, one: str, many: str, count: int) -> str:
        """A message in the form that goes with a count."""


class Spoken(str):
    """English text that can be said in another language."""

    __slots__ = ()

    def into(self, words: Words) -> str:
        """The text in that language."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self  # so that it still is one as the `str()` of an error that it was given


class Phrase(Spoken):
    """A message and its arguments; see `phrase` and `plural`."""

    __slots__ = ("arguments", "many", "msgid", "quantity")

    msgid: str
    many: str | None
    quantity: int
    arguments: dict[str, object]

    def __new__(cls, msgid: str, arguments: dict[str, object], many: str | None = None, quantity: int = 1) -> Phrase:
        """`many` is the message for any `quantity` but 1."""
        text = msgid if many is None or quantity == 1 else many
        self = super().__new__(cls, text.format_map(arguments))
        self.msgid, self.arguments, self.many, self.quantity = msgid, arguments, many, quantity
        return self

    def into(self, words: Words) -> str:
        """The text in that language."""
        text = words.word(self.msgid) if self.many is None else words.words(self.msgid, self.many, self.quantity)
        return text.format_map({name: _put(value, words) for name, value in self.arguments.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return Phrase, (self.msgid, self.arguments, self.many, self.quantity)


class Amount(Spoken):
    """A value, and the function of `mirror.amounts` that writes it."""

    __slots__ = ("value", "write")

    write: Callable[..., str]
    value: object

    def __new__(cls, write: Callable[..., str], value: object) -> Amount:
        """`write` takes a value and a notation."""
        self = super().__new__(cls, write(value))
        self.write, self.value = write, value
        return self

    def into(self, words: Words) -> str:
        """The amount as that language writes it."""
        return self.write(self.value, words.notation)

    def __reduce__(self) -> tuple[Any, ...]:
        return Amount, (self.write, self.value)


class Joined(Spoken):
    """Several texts in a row."""

    __slots__ = ("glue", "parts")

    glue: str
    parts: tuple[str, ...]

    def __new__(cls, glue: str, parts: tuple[str, ...]) -> Joined:
        """Both may be phrases."""
        self = super().__new__(cls, glue.join(parts))
        self.glue, self.parts = glue, parts
        return self

    def into(self, words: Words) -> str:
        """Each in that language."""
        glue = self.glue.into(words) if isinstance(self.glue, Spoken) else self.glue
        return glue.join(part.into(words) if isinstance(part, Spoken) else part for part in self.parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return Joined, (self.glue, self.parts)


def _put(value: object, words: Words) -> object:
    if isinstance(value, Spoken):
        return value.into(words)
    if type(value) is int:
        return number_text(value, words.notation)
    return value


def phrase(msgid: str, /, **arguments: object) -> Phrase:
    """A message, in English; `{name}` in it stands for an argument. Only a literal is found for translation.

    Arguments are texts (phrases among them) and numbers, which English shows bare: `number` groups their digits in every language.
    """
    return Phrase(msgid, arguments)


def plural(count: int, one: str, many: str, /, **arguments: object) -> Phrase:
    """`1 file`, `2 files`, `200,000 files`: `{n}` is the count."""
    return Phrase(one, {"n": number(count), **arguments}, many, count)


def joined(glue: str, parts: Iterable[str]) -> Joined:
    """Texts, phrases or not, with `glue` between them."""
    return Joined(glue, tuple(parts))


def number(value: int) -> Amount:
    """`200,000`."""
    return Amount(number_text, value)


def size(value: int | None) -> Amount:
    """Bytes as `2.1 kB`; `?` for None."""
    return Amount(size_text, value)


def speed(bytes_per_second: float) -> Amount:
    """`10.0 MB/s`."""
    return Amount(speed_text, bytes_per_second)


def share(value: float) -> Amount:
    """`55 %`."""
    return Amount(share_text, value)


def tight_share(value: float) -> Amount:
    """`40%`."""
    return Amount(tight_share_text, value)


def availability(value: float) -> Amount:
    """`99.99 %`."""
    return Amount(availability_text, value)


def latency(seconds: float | None) -> Amount:
    """`100 ms`."""
    return Amount(latency_text, seconds)


def seconds(value: float) -> Amount:
    """`1.5 s`."""
    return Amount(seconds_text, value)


def span(seconds: float | None) -> Amount:
    """`1 min 30 s`."""
    return Amount(span_text, seconds)


def day(value: str) -> Amount:
    """An ISO 8601 day or month."""
    return Amount(day_text, value)


def moment(value: str | None) -> Spoken:
    """An ISO 8601 moment of the index, to the minute; `never` for None."""
    return Amount(moment_text, value) if value else phrase("never")
