"""Settings: what loads, and what each kind of value may be."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.planning.edition import All, Between, Latest, parse_edition
from mirror.planning.timetable import Bandwidth
from mirror.settings import Address, load
from mirror.settings.hours import check_zone, format_bandwidth, parse_bandwidth, parse_window
from mirror.settings.schedule import parse_schedule
from mirror.settings.units import format_duration, format_size, parse_duration, parse_rate, parse_size
from tests.configs import INTERFACE, SECRET, URL, loaded, minimal, refusal

# What loads


def test_every_key_of_the_interface_is_taken(tmp_path: Path) -> None:
    settings = loaded(tmp_path, INTERFACE)
    upstream, subscription = settings.upstream["geoplateforme"], settings.subscription["topo-isere"]
    assert (settings.root, settings.contact) == (Path("/var/lib/inspire-mirror"), "sig@example.org")
    assert (upstream.bandwidth, upstream.min_speed, upstream.requests_per_second) == (Bandwidth.constant(50_000_000), 64_000, 4)
    assert (upstream.full_listing_every, upstream.retry_for) == (timedelta(days=7), timedelta(minutes=1))
    assert subscription.zones == ("D038", "D073")
    assert subscription.bbox == (5.5, 44.7, 6.4, 45.9)
    assert subscription.on_publish == ("/usr/local/bin/load", "{path}")
    assert settings.limits.min_free == 10 * 2**30
    assert settings.serve.listen == Address("127.0.0.1", 8420)


def test_defaults_are_those_of_the_interface(tmp_path: Path) -> None:
    settings = loaded(tmp_path, minimal())
    upstream, subscription = settings.upstream["geo"], settings.subscription["x"]
    assert (upstream.dialect, upstream.requests_per_second, upstream.downloads, upstream.bandwidth) == (None, 4, 4, None)
    assert (upstream.min_speed, upstream.full_listing_every, upstream.retry_for.seconds) == (64_000, timedelta(days=7), 60)
    assert (subscription.edition, subscription.publish, subscription.extract, subscription.keep) == (
        Latest(1),
        "whole",
        False,
        None,
    )
    assert subscription.zones == subscription.formats == subscription.crs == subscription.files == subscription.sub_resources == ()
    assert (settings.limits.max_delete_ratio, settings.limits.max_shrink_ratio, settings.limits.min_free) == (0.4, 0.4, 2**30)
    assert str(settings.serve.listen) == "127.0.0.1:8420"


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = loaded(tmp_path, minimal())
    with pytest.raises(ValueError, match="frozen"):
        settings.root = Path("/other")
    with pytest.raises(ValueError, match="frozen"):
        settings.upstream["geo"].url = "https://example.org"


def test_a_config_without_upstream_or_subscription_loads_for_catalog_and_serve(tmp_path: Path) -> None:
    assert not loaded(tmp_path, 'root = "/m"').subscription


def test_relative_paths_start_at_the_folder_of_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert loaded(tmp_path, 'root = "mirror"').root == tmp_path / "mirror"
    assert loaded(tmp_path, 'root = "../mirror"').root == tmp_path.parent / "mirror"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert loaded(tmp_path, 'root = "~/mirror"').root == tmp_path / "mirror"


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b'\xef\xbb\xbfroot = "/m"\r\n')
    assert load(path, {}).root == Path("/m")


# Units


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500 MB", 500 * 10**6),
        ("20 GiB", 20 * 2**30),
        ("64kb", 64_000),
        ("1.5 tb", 15 * 10**11),
        ("0.5 KiB", 512),
        (0, 0),
        (7, 7),
        ("7", 7),
        ("7 B", 7),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "20 G", "-1 MB", -1, "1e3", "1,5 GB", "50 Mbit", True, 1.5, None, [1], "9" * 40, 2**63])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


def test_a_rate_may_say_that_it_is_per_second() -> None:
    assert parse_rate("50 MB/s") == parse_rate("50 MB") == 50_000_000


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("90m", 5400), ("6 H", 21600), ("7d", 604800), ("2w", 1209600), ("0.5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["30", 30, 30.0, "", "s", "-1s", "1 month", "1h30m", True, None, "999999999999999w"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"must be a .*duration"):
        parse_duration(text)


@given(st.integers(0, 2**63 - 1) | st.builds(lambda n, p: n * 10**p, st.integers(0, 999), st.integers(0, 15)))
def test_a_size_reads_back_as_it_was(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.timedeltas(timedelta(), timedelta(days=3660)))
def test_a_duration_reads_back_as_it_was(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


def test_units_are_the_largest_that_fit() -> None:
    assert [format_size(n) for n in (0, 64_000, 20 * 2**30, 1001)] == ["0 B", "64 kB", "20 GiB", "1001 B"]
    assert [format_duration(timedelta(minutes=n)) for n in (0, 1, 90, 1440)] == ["0s", "1m", "90m", "1d"]


# Editions, boxes, schedules, addresses


@pytest.mark.parametrize(
    ("value", "edition"),
    [
        ("latest", Latest(1)),
        ("All", All()),
        (3, Latest(3)),
        ("3", Latest(3)),
        ("2024-01-01..2025-12-31", Between(date(2024, 1, 1), date(2025, 12, 31))),
        ("2024-01-01..", Between(date(2024, 1, 1), None)),
        ("..2025-12-31", Between(None, date(2025, 12, 31))),
    ],
)
def test_editions(value: object, edition: object) -> None:
    parsed = parse_edition(value)
    assert parsed == edition
    assert parse_edition(str(parsed)) == parse_edition(parsed) == edition


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.0, "", "newest", "..", "2024-01-01", "2025-01-02..2025-01-01", "2025-02-30..", [], 10**9]
)
def test_what_is_no_edition(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must"):
        parse_edition(value)


def test_both_ends_of_a_span_belong_to_it() -> None:
    span = Between(date(2024, 1, 1), date(2024, 12, 31))
    assert date(2024, 1, 1) in span
    assert date(2024, 12, 31) in span
    assert date(2025, 1, 1) not in span
    assert date(2025, 1, 1) in Between(date(2024, 1, 1), None)
    assert date(2025, 1, 1) not in Between(None, date(2024, 1, 1))


@pytest.mark.parametrize("schedule", ["hourly", "daily 03:15", "Every 6h", "15 3 * * *", "*/15 0-6,12 1 jan-mar sun", "0 4 * * 7"])
def test_schedules(schedule: str) -> None:
    assert str(parse_schedule(f"  {schedule} ")) == schedule.lower()


@pytest.mark.parametrize(
    "schedule",
    ["", "daily", "daily 24:00", "daily 3:15", "every", "every 6", "every 5s", "60 * * * *", "* 24 * * *", "* * 0 * *",
     "* * * 13 *", "* * * * 8", "* * * *", "5-1 * * * *", "*/0 * * * *", "*/99 * * * *", "x * * * *", "1,,2 * * * *",
     "weekly", 5, "0 0 30 2 *", "every 400d"],
)  # fmt: skip
def test_what_is_no_schedule(schedule: object) -> None:
    with pytest.raises(ValueError, match=r"^must"):
        parse_schedule(schedule)


@pytest.mark.parametrize("text", ["50 MB", "08:00 5 MB, 20:00 off", "00:00 1 GiB, 06:30 500 kB, 22:00 off"])
def test_bandwidth_by_the_time_of_day(text: str) -> None:
    assert format_bandwidth(parse_bandwidth(f" {text} ")) == text


@pytest.mark.parametrize(
    "text", ["", "0", "0 MB", "08:00", "08:00 off off", "8:00 5 MB", "08:00 0 B, 20:00 off", "08:00 1 MB, 08:00 2 MB", 0]
)
def test_what_is_no_bandwidth(text: object) -> None:
    with pytest.raises(ValueError, match=r"^must"):
        parse_bandwidth(text)


@pytest.mark.parametrize("text", ["", "20:00", "20:00-20:00", "20-06", "24:00-06:00", "20:00-06:00-07:00", 5])
def test_what_is_no_window(text: object) -> None:
    assert str(parse_window("20:00 - 06:00")) == "20:00-06:00"
    with pytest.raises(ValueError, match=r"^must"):
        parse_window(text)


@pytest.mark.parametrize("text", ["", "Europe/Pari", "../../etc/passwd", "/etc/localtime", "\x00", 5])
def test_what_is_no_time_zone(text: object) -> None:
    assert check_zone(" Europe/Paris ") == "Europe/Paris"
    with pytest.raises(ValueError, match=r"^must"):
        check_zone(text)


@pytest.mark.parametrize(
    ("bbox", "words"),
    [
        ("[5.5, 44.7, 6.4]", "four numbers"),
        ('["5", 44, 6, 45]', "four numbers"),
        ("[true, 44, 6, 45]", "four numbers"),
        ("[nan, 44, 6, 45]", "in degrees"),
        ("[900000, 6400000, 950000, 6500000]", "-180 to 180 and -90 to 90"),
        ("[6.4, 44.7, 5.5, 45.9]", "west before east"),
        ("[5.5, 45.9, 6.4, 44.7]", "south before north"),
        ("[-12, 155, -10, 165]", "look swapped"),
    ],
)
def test_what_is_no_bbox(tmp_path: Path, bbox: str, words: str) -> None:
    (line,) = refusal(tmp_path, minimal(subscription=f"bbox = {bbox}"))
    assert line.startswith("inspire-mirror.toml:8: [subscription.x] bbox: must ")
    assert words in line
    assert ("swapped" in line) == (words == "look swapped")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.org/", "https://"),
        ("data.geopf.fr/telechargement", "https://"),
        ("https:///x", "names a host"),
        ("https://[::1/x", "can be read"),
        ("https://host:99999/", "can be read"),
        (f"https://user:{SECRET}@example.org/", "a key goes into api_key_file"),
        (f"https://example.org/?apikey={SECRET}", "a key into api_key_file"),
        ("https://example.org/#top", "before any ? or #"),
        ("https://example.org/a b", "blanks"),
    ],
)
def test_what_is_no_url_of_a_service(tmp_path: Path, url: str, words: str) -> None:
    (line,) = refusal(tmp_path, f'root = "/m"\n[upstream.geo]\nurl = "{url}"')
    assert line.startswith("inspire-mirror.toml:3: [upstream.geo] url: must ")
    assert words in line
    assert SECRET not in line


def test_listen_takes_names_and_both_kinds_of_addresses(tmp_path: Path) -> None:
    for text in ("127.0.0.1:8420", "localhost:0", "[::1]:80"):
        assert str(loaded(tmp_path, f'root = "/m"\n[serve]\nlisten = "{text}"').serve.listen) == text
    for text in ("8420", ":8420", "localhost", "localhost:70000", "::1:80", "http://localhost:80"):
        assert "must be HOST:PORT" in refusal(tmp_path, f'root = "/m"\n[serve]\nlisten = "{text}"')[0]


def test_the_public_url_loses_its_last_slash(tmp_path: Path) -> None:
    text = 'root = "/m"\n[serve]\npublic_url = "https://example.org/mirror/"'
    assert loaded(tmp_path, text).serve.public_url == "https://example.org/mirror"


@pytest.mark.parametrize("name", ["..", "a/b", "-a", ".a", "", "é", "a" * 65, "a b", "a\\nb"])
def test_a_name_that_could_be_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    for table in ("upstream", "subscription"):
        lines = refusal(tmp_path, minimal() + f'[{table}."{name}"]\nurl = "{URL}"\nresources = ["A"]')
        assert any(f"[{table}." in line and "must be a name of at most 64" in line for line in lines)


def test_an_upstream_cannot_take_a_path_of_the_http_interface(tmp_path: Path) -> None:
    assert "HTTP interface" in refusal(tmp_path, f'root = "/m"\n[upstream.api]\nurl = "{URL}"')[0]


# Which upstream a subscription means


def test_the_only_upstream_need_not_be_named(tmp_path: Path) -> None:
    assert loaded(tmp_path, minimal()).subscription["x"].upstream == "geo"


def test_one_of_several_upstreams_must_be_named(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, minimal() + f'[upstream.other]\nurl = "{URL}"')
    assert line == (
        'inspire-mirror.toml:6: [subscription.x] upstream: required key is missing, as there are several: "geo", "other"'
    )


def test_an_upstream_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, minimal(subscription='upstream = "goe"'))
    assert line == 'inspire-mirror.toml:8: [subscription.x] upstream: there is no upstream "goe"; did you mean "geo"?'


def test_a_subscription_without_any_upstream_is_refused(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, 'root = "/m"\n[subscription.x]\nresources = ["A"]')
    assert line.endswith("[subscription.x] upstream: there is no [upstream.NAME] table")


def test_redirect_hosts_are_hosts_with_or_without_a_port(tmp_path: Path) -> None:
    text = minimal(upstream='redirect_hosts = ["Files.Example.org", "files.example.org:8443", "10.0.0.7", "[2001:DB8:0::1]:80"]')
    upstream = loaded(tmp_path, text).upstream["geo"]
    assert upstream.redirect_hosts == ("files.example.org", "files.example.org:8443", "10.0.0.7", "[2001:db8::1]:80")
    environ = {"INSPIRE_MIRROR_UPSTREAM__GEO__REDIRECT_HOSTS": "a.example,b.example:8080"}
    assert loaded(tmp_path, minimal(), environ).upstream["geo"].redirect_hosts == ("a.example", "b.example:8080")
