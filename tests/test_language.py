"""Which language is spoken to whom, what a phrase is, and how amounts are written."""

from __future__ import annotations

import copy
import json
import pickle
import sqlite3
from contextlib import closing

import pytest

from mirror.errors import GuardRefused
from mirror.language import ENGLISH, french, preferred, wishes_of_environment
from mirror.phrases import (
    Phrase,
    availability,
    day,
    joined,
    latency,
    moment,
    number,
    phrase,
    plural,
    size,
    span,
    speed,
    tight_share,
)

FRENCH = french()


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr"}, "fr"),
        ({"LANG": "fr_CA@euro"}, "fr"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "frr_DE"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "fr_FR", "LC_MESSAGES": "en_GB"}, "en"),
        ({"LANG": "en_GB", "LC_MESSAGES": "fr_FR"}, "fr"),
        ({"LANG": "en_GB", "LC_MESSAGES": "en_GB", "LC_ALL": "fr_FR"}, "fr"),
        ({"LANG": "fr_FR", "LC_ALL": "C"}, "en"),
        ({"LANG": "fr_FR", "LC_ALL": ""}, "fr"),
        ({"LANG": "fr_FR", "LC_TIME": "en_GB"}, "fr"),
        ({"LANG": "en_GB", "LANGUAGE": "fr"}, "fr"),
        ({"LANG": "fr_FR", "LANGUAGE": "en:fr"}, "en"),
        ({"LANG": "de_DE", "LANGUAGE": "de:fr:en"}, "fr"),
        ({"LANG": "C", "LANGUAGE": "fr"}, "en"),
        ({"LC_ALL": "C.UTF-8", "LANG": "fr_FR", "LANGUAGE": "fr"}, "en"),
        ({"LANGUAGE": "fr"}, "en"),
        ({"LANG": "fr_FR", "LANGUAGE": ":"}, "fr"),
    ],
)
def test_the_environment_is_read_as_gettext_reads_it(environ: dict[str, str], code: str) -> None:
    assert preferred(wishes_of_environment(environ)).code == code


@pytest.mark.parametrize(
    ("tags", "code"), [(["fr-CA", "en"], "fr"), (["de", " fr"], "fr"), (["en-GB", "fr"], "en"), (["*"], "en"), ([""], "en")]
)
def test_a_page_can_ask_for_a_language_by_the_tags_of_http(tags: list[str], code: str) -> None:
    assert preferred(tags).code == code


def test_a_phrase_is_its_english_text_to_whatever_takes_text() -> None:
    """JSON, SQLite, an error and its text, copies; translation is asked for by name, and comes nowhere else."""
    said = phrase("upstream {upstream}: {reason}", upstream="gpf", reason=phrase("upstream lists another MD5"))
    english = "upstream gpf: upstream lists another MD5"
    assert said == english
    assert {said: 1} == {english: 1}
    assert json.dumps([said]) == json.dumps([english])
    with closing(sqlite3.connect(":memory:")) as database:
        assert type(database.execute("SELECT ?", (said,)).fetchone()[0]) is str
    for other in (said, str(said), str(GuardRefused(said)), copy.deepcopy(said), pickle.loads(pickle.dumps(said))):  # noqa: S301
        assert type(other) is Phrase
        assert ENGLISH.put(other) == english
        assert FRENCH.put(other) == "service amont gpf\u00a0: l’amont annonce un autre MD5"
    assert FRENCH.put(f"{said}.") == f"{english}."
    assert FRENCH.put(english) == english


def test_arguments_are_never_read_as_messages() -> None:
    """Neither braces in a name from outside, nor a name that is a word of the catalogue."""
    said = phrase("{upstream}: nothing was measured yet", upstream="{0.__class__} never")
    assert FRENCH.put(said) == "{0.__class__} never\u00a0: rien n’a encore été mesuré"


def test_counts_go_by_the_rule_of_the_language() -> None:
    """None is singular in French and plural in English."""
    counts = [plural(n, "{n} file", "{n} files") for n in (0, 1, 2, 200_000)]
    assert counts == ["0 files", "1 file", "2 files", "200,000 files"]
    assert [FRENCH.put(count) for count in counts] == ["0 fichier", "1 fichier", "2 fichiers", "200\u202f000 fichiers"]


def test_amounts_are_written_as_the_readers_of_a_language_write_them() -> None:
    amounts = [
        (size(2_146), "2.1 kB", "2,1 ko"),
        (size(0), "0 B", "0 o"),
        (size(85_100_000_000), "85.1 GB", "85,1 Go"),
        (size(None), "?", "?"),
        (speed(10_000_000.7), "10.0 MB/s", "10,0 Mo/s"),
        (number(1_234_567), "1,234,567", "1 234 567"),
        (tight_share(0.4), "40%", "40 %"),
        (availability(0.99999), "99.99 %", "99,99 %"),
        (availability(1), "100 %", "100 %"),
        (latency(0.1), "100 ms", "100 ms"),
        (latency(1.25), "1.2 s", "1,2 s"),
        (span(89), "89 s", "89 s"),
        (span(290), "4 min 50 s", "4 min 50 s"),
        (span(50 * 3600), "2 d 2 h", "2 j 2 h"),
        (span(None), "", ""),
        (day("2026-10-06"), "2026-10-06", "06/10/2026"),
        (day("2026-10"), "2026-10", "10/2026"),
        (day("soon"), "soon", "soon"),
        (moment("2026-11-23T19:12:44.000000Z"), "2026-11-23 19:12 UTC", "23/11/2026 19:12 UTC"),
        (moment(None), "never", "jamais"),
        (joined("/", (number(1_000), "x")), "1,000/x", "1 000/x"),
    ]
    for amount, english, in_french in amounts:
        assert amount == english
        assert FRENCH.put(amount).replace("\u202f", " ") == in_french


def test_numbers_in_french_are_never_torn_apart() -> None:
    assert " " not in FRENCH.put(size(2_146)) + FRENCH.put(number(1_234_567)) + FRENCH.put(latency(0.1)) + FRENCH.put(speed(1e6))


def test_a_reader_may_have_another_language_than_the_next_one() -> None:
    """Nothing of it is a state of the process."""
    said = phrase("never run")
    assert [language.put(said) for language in (FRENCH, ENGLISH, FRENCH)] == ["jamais lancée", "never run", "jamais lancée"]
