"""What a fuzz target is, and the ways to make hostile input that several of them share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A reader under fire. `check` raises where a rule is broken; `share` is its part of all inputs.

    One that is `contained` runs in a process of its own in production, too, and may crash it.
    """

    name: str
    make: Callable[[random.Random], Any]
    check: Callable[[Any], None]
    share: int = 1
    contained: bool = False


def source(seed: int, target: str, number: int) -> random.Random:
    """The randomness of one input."""
    return random.Random(f"{seed} {target} {number}")  # noqa: S311 - to be repeated, not secret


INTEGERS = (0, -1, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**19, 10**30, 10**400)
FLOATS = (0.0, -0.0, 1.5, 1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "",
    " ",
    "\x00",
    "\r\nX: y",
    "a" * 300,
    "é",
    "e\u0301",
    "\ud800",
    "\u202egnp.exe",
    "\ufeff",
    "\U0001f409",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "C:\\x",
    "CON",
    "%2e%2e%2f",
    "null",
    "2024-02-30",
    "2024-01-01T00:00:00+99:99",
    "9" * 5000,
    "1e999",
)


def anything(rng: random.Random, depth: int = 3) -> Any:
    """Any value that JSON can hold."""
    kind = rng.randrange(8 if depth else 6)
    match kind:
        case 0:
            return None
        case 1:
            return rng.random() < 0.5
        case 2:
            return rng.choice(INTEGERS)
        case 3:
            return rng.choice(FLOATS)
        case 4:
            return rng.choice(TEXTS)
        case 5:
            return text(rng)
        case 6:
            return [anything(rng, depth - 1) for _ in range(rng.randrange(4))]
        case _:
            return {text(rng, 6): anything(rng, depth - 1) for _ in range(rng.randrange(4))}


_ALPHABETS = (
    "abcXYZ019._-",
    " \t./\\:*?\"<>|~%&#'",
    "\x00\x01\x1f\x7f\x80\x9f",
    "éàœßΩ漢\u0301\u0323",
    "\u200b\u200e\u202e\u2028\u2060\ufeff\u00ad\u115f\u3164\ufe0f\U000e0101",
    "\ud800\udfff\ud83d",
    "\U0001f409\U0010ffff\ue000",
)


def text(rng: random.Random, longest: int = 24) -> str:
    """Any text: mostly plain letters, now and then what is hard to keep."""
    letters = rng.choices(_ALPHABETS, (12, 3, 1, 2, 1, 1, 1), k=rng.randrange(longest + 1))
    return "".join(rng.choice(alphabet) for alphabet in letters)


def damaged(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """One of `seeds` with up to eight wounds: bits flipped, cut, doubled, spliced with another, `tokens` put in."""
    body = bytearray(rng.choice(seeds))
    for _ in range(1 + int(rng.expovariate(0.7)) % 8):
        at = rng.randrange(len(body) + 1)
        end = min(len(body), at + int(rng.expovariate(0.05)))
        match rng.randrange(7):
            case 0:
                if at < len(body):
                    body[at] ^= 1 << rng.randrange(8)
            case 1:
                del body[at:end]
            case 2:
                body[at:at] = body[at:end] * rng.choice((1, 2, 50))
            case 3:
                del body[at:]
            case 4:
                other = rng.choice(seeds)
                cut = rng.randrange(len(other) + 1)
                body[at:end] = other[cut : cut + rng.randrange(400)]
            case 5:
                body[at:end] = rng.choice(tokens)
            case _:
                body[at:end] = rng.randbytes(rng.randrange(8))
    return bytes(body[:200_000])
