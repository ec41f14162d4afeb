"""What feeds are made of, decided without a mirror: authors, dates, codes, addresses, pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from lxml import etree

from mirror.serving.inspire import representations
from mirror.serving.inspire.crs import UNKNOWN, crs_uri
from mirror.serving.inspire.datasets import codes_of
from mirror.serving.inspire.metadata import service_record
from mirror.serving.inspire.service import Service
from mirror.serving.origin import Origin
from mirror.store.newest import Alike

from .metadata_checks import RECORDS, SRV


def test_files_are_linked_singly_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller ones first, none beyond the limit of an entry, all together within that of a feed."""

    class Sized(representations.Representation):
        files = 0

    def sized(name: str, files: int) -> representations.Representation:
        one = Sized(f"http://example.org/{name}", "", (), "", ())
        object.__setattr__(one, "files", files)
        return one

    found = [sized("a", 5000), sized("b", 4000), sized("c", 5001), sized("d", 5000), sized("e", 4500), sized("f", 5000)]
    singly = representations.linked_singly(found)
    assert [one.slug in singly for one in found] == [True, True, False, True, True, False]


def test_pages_have_every_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an edition is longer than a page."""
    monkeypatch.setattr(representations, "PAGE_FILES", 10)
    for counts in ([1], [10], [3, 25, 0, 2], [10, 10], [7, 7, 7, 7]):
        alike = Alike(("[]", "[]"), (), (), len(counts), sum(counts), 0, "2026", withdrawn=False, withdrawn_at=None, box=None)
        one = representations.Representation("http://example.org/", "", (), "", (alike,))
        pages = [representations.page_of(enumerate(counts), number) for number in range(1, one.pages + 1)]
        assert all(0 < sum(limit for _, _, limit in page) <= 10 for page in pages)
        files = [(found, at) for page in pages for found, offset, limit in page for at in range(offset, offset + limit)]
        assert files == [(n, at) for n, count in enumerate(counts) for at in range(count)]
        assert representations.page_of(enumerate(counts), one.pages + 1) == []


def test_a_code_is_that_of_the_catalogues_unless_it_would_not_tell() -> None:
    assert codes_of({"A": "x", "B": "y", "C": "", "D": "y", "E": "A", "F": "--", "G": "G"}) == {
        "A": "x",
        "B": "B",  # shared with D
        "C": "C",
        "D": "D",
        "E": "E",  # the id of A
        "F": "F",  # nothing to read in it
        "G": "G",
    }


def service(contact: str | None = None, base: str = "https://mirror.example.org", url: str | None = None) -> Service:
    return Service(Origin("gpf", url, contact), base, date(2026, 11, 25), datetime(2026, 11, 25, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("contact", "base", "author", "email", "homepage"),
    [
        ("sig@example.org", "https://m.example.org", "sig@example.org", "sig@example.org", None),
        ("SIG de l’Isère <sig@isere.fr>", "https://m.example.org", "SIG de l’Isère", "sig@isere.fr", None),
        (
            "https://sig.example.org/x",
            "https://m.example.org",
            "https://sig.example.org/x",
            "webmaster@m.example.org",
            "https://sig.example.org/x",
        ),
        ("the GIS team, room 12", "https://m.example.org/geo", "the GIS team, room 12", "webmaster@m.example.org", None),
        (None, "https://m.example.org:8443", "inspire-mirror", "webmaster@m.example.org", None),
        (None, "http://127.0.0.1:8420", "inspire-mirror", "webmaster@mirror.invalid", None),
        (None, "http://[::1]:8420", "inspire-mirror", "webmaster@mirror.invalid", None),
        ("root@localhost", "http://localhost", "root@localhost", "webmaster@mirror.invalid", None),
        ("http://[", "http://gis", "http://[", "webmaster@mirror.invalid", None),
        ("—", "http://gis", "inspire-mirror", "webmaster@mirror.invalid", None),
    ],
)
def test_a_feed_always_has_an_author_with_an_address(
    contact: str | None, base: str, author: str, email: str, homepage: str | None
) -> None:
    found = service(contact, base)
    assert (found.author, found.email, found.homepage) == (author, email, homepage)


@pytest.mark.parametrize(
    ("changed_at", "moment"),
    [
        ("2026-11-24T10:20:30.123456+00:00", "2026-11-24T10:20:30Z"),
        ("2026-11-24T10:20:30+02:00", "2026-11-24T08:20:30Z"),
        ("2026-11-24T10:20:30", "2026-11-24T10:20:30Z"),
        ("2011-12-31T23:59:59Z", "2012-01-01T00:00:00Z"),
        ("2026-11-25T12:00:01Z", "2026-11-25T00:00:00Z"),  # by a clock gone wrong
        ("2062-01-01T00:00:00Z", "2026-11-25T00:00:00Z"),
        ("", "2012-01-01T00:00:00Z"),
        ("yesterday", "2012-01-01T00:00:00Z"),
    ],
)
def test_dates_have_seconds_and_zone_and_lie_between_2012_and_now(changed_at: str, moment: str) -> None:
    assert service().moment(changed_at) == moment


def test_terms_of_use_are_the_publishers() -> None:
    geoplateforme = service(url="https://data.geopf.fr/telechargement/capabilities")
    assert geoplateforme.rights.endswith("https://cartes.gouv.fr/cgu-licences")
    assert service(url="https://example.org/x").rights == "Conditions indiquées par le producteur\u00a0: https://example.org/x"
    assert service().rights == "Conditions indiquées par le producteur"


@pytest.mark.parametrize(
    ("code", "uri"),
    [
        ("EPSG:2154", "http://www.opengis.net/def/crs/EPSG/0/2154"),
        ("https://www.opengis.net/def/crs/EPSG/0/2154", "http://www.opengis.net/def/crs/EPSG/0/2154"),
        ("OGC:CRS84", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"),
        ("https://example.org/crs/1", "https://example.org/crs/1"),
        ("5490", "http://www.opengis.net/def/crs/EPSG/0/5490"),
        (UNKNOWN, UNKNOWN),
        ("IGNF:LAMB93", UNKNOWN),
        ("", UNKNOWN),
        ("http://x y", UNKNOWN),
    ],
)
def test_a_crs_is_named_by_its_uri(code: str, uri: str) -> None:
    assert crs_uri(code) == uri


def test_addresses_of_representations_are_their_own() -> None:
    """Whatever formats are called: two that are cleaned to one name, a long one, several at once."""
    base = representations.Representation("http://www.opengis.net/def/crs/EPSG/0/2154", "", ("GPKG",), "", ())
    names = [
        replace(base, formats=forms).slug for forms in (("GPKG",), ("A/B",), ("A-B",), ("A", "B"), (), ("X" * 300,), ("É",), ("È",))
    ]
    assert names[0] == "EPSG-2154_GPKG"
    assert len(set(names)) == len(names)
    assert all(len(name) < 200 and name.isascii() and "/" not in name for name in names)


@pytest.mark.parametrize("contact", [None, "sig@example.org", "SIG de l’Isère <sig@isere.fr>", "https://sig.example.org/x"])
@pytest.mark.parametrize("base", ["https://mirror.example.org", "https://mirror.example.org/geo", "http://[::1]:8420"])
def test_the_record_of_a_service_without_data_is_one_all_the_same(contact: str | None, base: str) -> None:
    """It operates on nothing, and says so."""
    record = etree.fromstring(service_record(service(contact, base), []))
    assert RECORDS.validate(record), RECORDS.error_log.last_error
    assert [one.get("codeListValue") for one in record.iter(f"{SRV}SV_CouplingType")] == ["loose"]
    assert record.find(f".//{SRV}operatesOn") is None
