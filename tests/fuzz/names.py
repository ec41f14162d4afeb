"""File names: what `check_name` lets pass can be a file's name, whatever the feed has made of it on the way."""

from __future__ import annotations

import json
import os
import random
import unicodedata
from contextlib import suppress
from functools import cache
from tempfile import mkdtemp
from urllib.parse import quote

from mirror.errors import FeedError, UnsafeName
from mirror.names import LONGEST, check_name
from mirror.upstream.feed import parse_sub_resource

from .target import TEXTS, Target, text

_PIECES = (
    "..", ".", "/", "\\", "\x00", "\n", "%2f", "%2e", "CON", "nul.txt", "aux", "com1", "COM¹", "lpt9.7z", ".7z", ".001", " ",
    "a" * 230, "é" * 115, "\U0001f409" * 62, "\u202e", "\u200b", "\ufeff", "\u3164", "\u2800", "\ud800", "~", "-rf", "data.7z",
    ".part.json", "C:", "::$DATA",
)  # fmt: skip
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}


def check_safe(name: str) -> None:
    """Written without a look at `check_name`: one component, inside its folder, visible, and short enough to be staged."""
    assert name not in ("", ".", "..")
    assert not set(name) & set("/\\\x00")
    assert os.path.dirname(os.path.normpath(os.path.join("/base", name))) == "/base"
    assert len(name.encode("utf-8")) <= LONGEST - len(".part.json~")
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for letter in name)
    assert not name.startswith(".")
    assert name == name.strip()
    assert not name.endswith(".")
    assert name.partition(".")[0].lower() not in _DEVICES


def _name(rng: random.Random) -> str:
    parts = [rng.choice(_PIECES) if rng.random() < 0.4 else text(rng, 8) for _ in range(rng.randrange(1, 5))]
    return "".join(parts) if rng.random() < 0.95 else rng.choice(TEXTS)


@cache
def _folder(_: int) -> str:
    return mkdtemp(prefix="inspire-mirror-fuzz-")


def _check(name: str) -> None:
    """A name is refused in one line, or returned as it is, and then a file of that name can be made and found again."""
    try:
        assert check_name(name) == name
    except UnsafeName as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1200
        return
    check_safe(name)
    if len(name) % 16 == 0:  # files cost more than all the rest
        path = os.path.join(_folder(os.getpid()), name)
        with open(path, "xb"):
            assert os.listdir(os.path.dirname(path)) == [name]
        os.unlink(path)


def _href(rng: random.Random) -> str:
    """An address that ends in some name, percent-encoded rightly, wrongly, twice or not at all."""
    name = _name(rng).encode("utf-8", "replace").decode() if rng.random() < 0.7 else _name(rng)
    with suppress(UnicodeEncodeError):
        for _ in range(rng.randrange(3)):
            name = quote(name, safe=rng.choice(("", "/", "/%")))
    return rng.choice(("https://h/download/r/s/", "/download/", "", "https://h", "//h/", "file:///")) + name


def _check_href(href: str) -> None:
    """Of whatever address a feed gives, the name is one segment, decoded once; what is let pass of it is safe."""
    body = json.dumps({"entry": [{"link": [{"href": href, "rel": "alternate"}]}]}).encode()
    try:
        page = parse_sub_resource(body)
    except FeedError:
        return
    for file in page.entries:
        with suppress(UnsafeName):
            check_safe(check_name(file.name))


TARGETS = (
    Target("names", _name, _check, share=6),
    Target("names-in-addresses", _href, _check_href, share=3),
)
