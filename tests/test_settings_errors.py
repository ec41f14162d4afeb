"""Settings that cannot be used, where the config is looked for, and what the environment lays over it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mirror import settings as configuration
from mirror.errors import ConfigError
from mirror.planning.edition import Latest
from mirror.settings import find_config, load
from tests.configs import URL, loaded, minimal, refusal, write
from tests.privileges import ordinary_user

# Errors


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = f"""\
contact = "two\\nlines"
[upstream.geo]
url = "{URL}"
requests_per_second = "four"
downloads = 2.5
full_listing_every = 7
[subscription.topo-isere]
zonez = ["D038"]
resources = []
crs = "EPSG:2154"
publish = "some"
extract = "yes"
formats = ["GPKG", 5]
[limits]
max_delete_ratio = 1.5
"""
    assert refusal(tmp_path, text) == [
        "inspire-mirror.toml: root: required key is missing",
        'inspire-mirror.toml:1: contact: must be one line, without control characters, got "two\\nlines"',
        'inspire-mirror.toml:4: [upstream.geo] requests_per_second: must be a number, got "four"',
        "inspire-mirror.toml:5: [upstream.geo] downloads: must be a whole number, got 2.5",
        "inspire-mirror.toml:6: [upstream.geo] full_listing_every: must be a duration with its unit (s, m, h, d or w), "
        'such as "30s", "6h" or "7d", got 7',
        'inspire-mirror.toml:8: [subscription.topo-isere] zonez: unknown key; did you mean "zones"?',
        'inspire-mirror.toml:9: [subscription.topo-isere] resources: must name at least one; ["*"] takes all',
        'inspire-mirror.toml:10: [subscription.topo-isere] crs: must be a list, in brackets: ["..."], got "EPSG:2154"',
        'inspire-mirror.toml:11: [subscription.topo-isere] publish: must be "whole" or "each", got "some"',
        'inspire-mirror.toml:12: [subscription.topo-isere] extract: must be true or false, got "yes"',
        "inspire-mirror.toml:13: [subscription.topo-isere] formats: item 2 must be text",
        "inspire-mirror.toml:15: [limits] max_delete_ratio: must be at most 1, got 1.5",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '[serve]\nroot = "/m"',
            "inspire-mirror.toml:2: [serve] root: unknown key; it belongs at the top, before the first [table]",
        ),
        ("min_free = 1", "inspire-mirror.toml:1: min_free: unknown key; it belongs in [limits]"),
        ("[limits]\nformats = []", "inspire-mirror.toml:2: [limits] formats: unknown key; it belongs in [subscription.NAME]"),
        ("[subscriptions.x]", 'inspire-mirror.toml:1: subscriptions: unknown key; did you mean "subscription"?'),
        ("[serve]\nqqqq = 1", 'inspire-mirror.toml:2: [serve] qqqq: unknown key; known: "listen", "public_url"'),
        ("limits = 5", "inspire-mirror.toml:1: limits: must be a table"),
        ('[upstream]\nurl = "x"', "inspire-mirror.toml:2: [upstream.url]: must be a table"),
        ("upstream = []", "inspire-mirror.toml:1: upstream: must hold tables: [upstream.NAME]"),
        ('[serve]\n"a\\nb" = 1', 'inspire-mirror.toml:2: [serve] "a\\nb": unknown key; known: "listen", "public_url"'),
        ("serve.lisden = 1", 'inspire-mirror.toml:1: [serve] lisden: unknown key; did you mean "listen"?'),
        ('[upstream.geo]  # where from\ndialect = "gpf"', "inspire-mirror.toml:1: [upstream.geo] url: required key is missing"),
        (
            "[limits]\nmin_free = 0x1" + "0" * 6000,
            "inspire-mirror.toml:2: [limits] min_free: must be a size from 0 to 8 EiB, got a very",
        ),
        ("[limits]\nmin_free = 2024-01-01", "inspire-mirror.toml:2: [limits] min_free: must be a size"),
    ],
)
def test_where_and_what_of_a_problem(tmp_path: Path, text: str, line: str) -> None:
    lines = refusal(tmp_path, text)
    assert any(found.startswith(line) for found in lines), lines


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'root = "/m"\nroot = \n', ":2: Invalid value (column 8)"),
        (b'root = "/m"\nroot = "/n"\n', ':2: "root" is set a second time (column 12)'),
        (b'root = "/m"\n[limits', ": Expected ']' at the end of a table declaration"),
        (b'root = "/m"\n# caf\xe9', ":2: is not UTF-8 text"),
        (b"#" * (2**20 + 1), ": is larger than 1 MiB"),
        (b"x = " + b"9" * 5000, "holds a number or a nesting"),
        (b"x = " + b"[" * 100_000, "inspire-mirror.toml"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "inspire-mirror.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(path, {})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a file"):
        load(tmp_path, {})
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="does not exist"):
        load(Path("nul\0.toml"), {})


def test_a_config_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, minimal())
    path.chmod(0)
    with ordinary_user(tmp_path), pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load(path, {})


def test_a_config_in_the_working_folder_is_named_as_people_would_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "rot = 1")
    with pytest.raises(ConfigError, match=r"(?m)^inspire-mirror\.toml:1: rot: unknown key"):
        load(tmp_path / "inspire-mirror.toml", {})


# Where the config is


def test_the_option_goes_before_the_variable_and_that_before_the_working_folder(tmp_path: Path) -> None:
    here, named, chosen = write(tmp_path, ""), tmp_path / "named.toml", tmp_path / "chosen.toml"
    named.touch()
    chosen.touch()
    environ = {"INSPIRE_MIRROR_CONFIG": "named.toml"}
    assert find_config(Path("chosen.toml"), environ, tmp_path) == chosen
    assert find_config(None, environ, tmp_path) == named
    assert find_config(None, {"INSPIRE_MIRROR_CONFIG": ""}, tmp_path) == here


def test_a_config_that_was_named_is_not_replaced_by_another(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(ConfigError, match=r"^-c: there is no .*gone\.toml"):
        find_config(Path("gone.toml"), {}, tmp_path)
    with pytest.raises(ConfigError, match=r"^\$INSPIRE_MIRROR_CONFIG: there is no .*gone\.toml"):
        find_config(None, {"INSPIRE_MIRROR_CONFIG": "gone.toml"}, tmp_path)


@pytest.mark.skipif(configuration.SYSTEM_CONFIG.exists(), reason="this machine has a config of its own")
def test_without_a_config_the_error_names_all_that_was_tried(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        find_config(None, {}, tmp_path)
    for words in (
        "-c",
        "$INSPIRE_MIRROR_CONFIG",
        f"{tmp_path}/inspire-mirror.toml",
        "/etc/inspire-mirror/",
        "`inspire-mirror init`",
    ):
        assert words in str(refused.value)


# The environment


@pytest.mark.parametrize(
    ("variable", "value", "place", "expected"),
    [
        ("ROOT", "/srv/m", ("root",), Path("/srv/m")),
        ("CONTACT", "5", ("contact",), "5"),
        ("LIMITS__MIN_FREE", "10 GiB", ("limits", "min_free"), 10 * 2**30),
        ("LIMITS__MIN_FREE", "1000", ("limits", "min_free"), 1000),
        ("LIMITS__MAX_DELETE_RATIO", "1", ("limits", "max_delete_ratio"), 1.0),
        ("UPSTREAM__GEO__URL", "https://example.org/x", ("upstream", "geo", "url"), "https://example.org/x"),
        ("UPSTREAM__GEO__REQUESTS_PER_SECOND", "1.5", ("upstream", "geo", "requests_per_second"), 1.5),
        ("SUBSCRIPTION__X_Y_Z__ZONES", "D038, D073,", ("subscription", "x-Y.z", "zones"), ("D038", "D073")),
        ("SUBSCRIPTION__X_Y_Z__ZONES", '["D038"]', ("subscription", "x-Y.z", "zones"), ("D038",)),
        ("SUBSCRIPTION__X_Y_Z__ZONES", "38", ("subscription", "x-Y.z", "zones"), ("38",)),
        ("SUBSCRIPTION__X_Y_Z__ZONES", "", ("subscription", "x-Y.z", "zones"), ()),
        ("SUBSCRIPTION__X_Y_Z__RESOURCES", "[AB]*", ("subscription", "x-Y.z", "resources"), ("[AB]*",)),
        ("SUBSCRIPTION__X_Y_Z__BBOX", "5, 44.5,6,45", ("subscription", "x-Y.z", "bbox"), (5, 44.5, 6, 45)),
        ("SUBSCRIPTION__X_Y_Z__EXTRACT", "true", ("subscription", "x-Y.z", "extract"), True),
        ("SUBSCRIPTION__X_Y_Z__EDITION", "3", ("subscription", "x-Y.z", "edition"), Latest(3)),
        ("SUBSCRIPTION__NEW_ONE__RESOURCES", "A", ("subscription", "new_one", "resources"), ("A",)),
    ],
)
def test_the_environment_goes_over_the_file(
    tmp_path: Path, variable: str, value: str, place: tuple[str, ...], expected: object
) -> None:
    text = minimal() + '[subscription."x-Y.z"]\nresources = ["A"]\nzones = ["FRA"]\n'
    found: Any = loaded(tmp_path, text, {f"INSPIRE_MIRROR_{variable}": value, "INSPIRE_MIRROR_CONFIG": "x", "PATH": "/bin"})
    for name in place:
        found = found[name] if isinstance(found, Mapping) else getattr(found, name)
    assert found == expected


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ROOOT", "/m", 'did you mean "root"?'),
        ("LIMITS__MIN_FREEE", "1", '[limits] min_freee: unknown key; did you mean "min_free"?'),
        ("LIMITS__MIN_FREE", "much", 'must be a size such as "500 MB" or "20 GiB", or a whole number of bytes, got "much"'),
        ("LIMITS", "1", "it must be INSPIRE_MIRROR_LIMITS__KEY"),
        ("UPSTREAM__GEO", "1", "it must be INSPIRE_MIRROR_UPSTREAM__NAME__KEY"),
        ("LIMIT__MIN_FREE", "1", 'did you mean "limits"?'),
        ("SUBSCRIPTION__A_B__ZONES", "D038", 'fits several tables: "a-b", "a.b"'),
        ("SUBSCRIPTION__TYPO__ZONES", "D038", "[subscription.typo] resources: required key is missing"),
        ("SUBSCRIPTION__X__ZONES", '["D038"', "must be a list"),
        ("SUBSCRIPTION__X__ZONES", "[1]", "item 1 must be text"),
        ("SUBSCRIPTION__X__EXTRACT", "yes", "must be true or false"),
        ("SUBSCRIPTION__X__KEEP", "2\nextract = true", "must be a whole number"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str, words: str) -> None:
    text = minimal() + '[subscription.a-b]\nresources = ["A"]\n[subscription."a.b"]\nresources = ["A"]\n'
    (line,) = refusal(tmp_path, text, {f"INSPIRE_MIRROR_{variable}": value})
    assert line.startswith(f"environment INSPIRE_MIRROR_{variable}: ")
    assert words in line


def test_a_whole_config_can_come_from_the_environment(tmp_path: Path) -> None:
    environ = {"ROOT": "/m", "UPSTREAM__GEO__URL": URL, "SUBSCRIPTION__ALL__RESOURCES": "*"}
    settings = loaded(tmp_path, "", {f"INSPIRE_MIRROR_{name}": value for name, value in environ.items()})
    assert settings.subscription["all"].upstream == "geo"


@pytest.mark.parametrize(
    "host",
    [
        *("https://a.example", "a.example/x", "*.example", "a.example:", "a.example:0", "a.example:65536", "user@a.example"),
        *("é.example", "[::1", "[::g]", "[1::2::3]", "::1", "a..example", "-a.example"),
    ],
)
def test_a_redirect_host_that_is_none_is_told(tmp_path: Path, host: str) -> None:
    """What was given is not repeated: it may be an address with a key in it."""
    (line,) = refusal(tmp_path, minimal(upstream=f'redirect_hosts = ["ok.example", "{host}"]'))
    assert line.startswith("inspire-mirror.toml:5: [upstream.geo] redirect_hosts: item 2 must ")
    assert host not in line.replace("[upstream.geo]", "")
