"""What of the settings is shown: never a secret, always what may surprise; and the examples."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror import settings as configuration
from mirror.config_template import init_text
from mirror.errors import ConfigError
from mirror.settings import KNOWN_UPSTREAMS, MASK, effective, find_upstream, from_mapping, load
from tests.configs import EXAMPLES, INTERFACE, SECRET, URL, loaded, minimal, refusal, write

# Secrets


def key_file(folder: Path, content: bytes = f"{SECRET}\n".encode(), mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("way", ["file", "config", "environment"])
def test_a_key_is_taken_and_never_shown(tmp_path: Path, way: str) -> None:
    key_file(tmp_path)
    upstream = {"file": 'api_key_file = "key"', "config": f'api_key = "{SECRET}"', "environment": ""}[way]
    environ = {"INSPIRE_MIRROR_UPSTREAM__GEO__API_KEY": SECRET} if way == "environment" else {}
    settings = loaded(tmp_path, minimal(upstream=upstream), environ)
    key = settings.upstream["geo"].api_key
    assert key is not None
    assert key.get_secret_value() == SECRET
    shown = json.dumps(effective(settings))
    assert (MASK in shown) == (way != "file")
    assert SECRET not in shown + repr(settings) + str(settings) + settings.model_dump_json() + str(settings.model_dump())


def test_a_key_in_a_readable_file_is_told(tmp_path: Path) -> None:
    key_file(tmp_path, mode=0o644)
    assert any("everybody" in line for line in configuration.warnings(loaded(tmp_path, minimal(upstream='api_key_file = "key"'))))
    key_file(tmp_path, mode=0o640)
    assert not any(
        "everybody" in line for line in configuration.warnings(loaded(tmp_path, minimal(upstream='api_key_file = "key"')))
    )


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"two\nlines", b"\xff\xfe", b"x" * 5000])
def test_a_file_that_holds_no_key(tmp_path: Path, content: bytes) -> None:
    key_file(tmp_path, content)
    (line,) = refusal(tmp_path, minimal(upstream='api_key_file = "key"'))
    assert line.startswith("inspire-mirror.toml:5: [upstream.geo] api_key_file: must name a file with the key in it, but that ")


def test_a_key_pasted_for_its_file_is_not_repeated(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, minimal(upstream=f'api_key_file = "{SECRET}"'))
    assert line.endswith("but that cannot be read (No such file or directory)")
    assert SECRET not in line


def test_a_key_and_a_key_file_exclude_each_other(tmp_path: Path) -> None:
    key_file(tmp_path)
    (line,) = refusal(tmp_path, minimal(upstream=f'api_key_file = "key"\napi_key = "{SECRET}"'))
    assert line.endswith("api_key_file: must not be given together with api_key; keep one of them")


def test_offline_commands_need_no_key_file(tmp_path: Path) -> None:
    path = write(tmp_path, minimal(upstream='api_key_file = "not-mine"\nca_file = "not-mine-either"'))
    assert load(path, {}, offline=True).upstream["geo"].api_key is None


def test_certificates_must_be_there(tmp_path: Path) -> None:
    assert "ca_file: there is no file" in refusal(tmp_path, minimal(upstream='ca_file = "ca.pem"'))[0]
    (tmp_path / "ca.pem").touch()
    assert loaded(tmp_path, minimal(upstream='ca_file = "ca.pem"')).upstream["geo"].ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    "text",
    [
        f'[upstream.geo]\nurl = "{URL}"\napi_key = ["{SECRET}"]',
        f'[upstream.geo]\nurl = "{URL}"\napi_key = "{SECRET} x"',
        f'[upstream.geo]\nurl = "{URL}"\napikey = "{SECRET}"',
        f'[upstream]\ngeo = "https://u:{SECRET}@example.org"',
        f'[upstream.geo]\nurl = ["{SECRET}"]',
        f'[upstream.geo]\nurl = "{URL}"\n[subscription.x]\nresources = ["A"]\nupstream = "https://u:{SECRET}@h/"',
        f'[upstream."https://h/?apikey={SECRET}"]',
        f'root = "/m"\napi_key = "{SECRET}"',
    ],
)
def test_a_secret_in_a_wrong_place_is_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, text)
    error: BaseException | None = refused.value
    while error is not None:
        assert SECRET not in f"{error} {error!r}"
        error = error.__context__


# What is shown


def test_effective_settings_are_json_that_reads_back_to_the_same(tmp_path: Path) -> None:
    settings = loaded(tmp_path, INTERFACE)
    shown = json.loads(json.dumps(effective(settings)))
    assert shown["limits"]["min_free"] == "10 GiB"
    assert shown["upstream"]["geoplateforme"]["full_listing_every"] == "7d"

    def without_nulls(value: Any) -> Any:
        return {key: without_nulls(part) for key, part in value.items() if part is not None} if isinstance(value, dict) else value

    assert from_mapping(without_nulls(shown), tmp_path, {}) == settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (minimal(), "contact: not set"),
        (minimal(upstream="requests_per_second = 11"), "[upstream.geo] requests_per_second: 11 is more than the 10"),
        (
            minimal(subscription='schedule = "daily 12:00"') + '[service]\nwindow = "20:00-06:00"',
            "[subscription.x] schedule: its runs are never",
        ),
        (minimal(upstream="downloads = 16"), "[upstream.geo] downloads: 16 at once"),
        (minimal(upstream=f'api_key = "{SECRET}"').replace("https:", "http:"), "[upstream.geo] url: the key goes over http"),
        ('root = "/m"', "upstream: none is set"),
        (f'root = "/m"\n[upstream.geo]\nurl = "{URL}"', "subscription: none is set"),
    ],
)
def test_what_may_surprise_is_told(tmp_path: Path, text: str, words: str) -> None:
    assert any(line.startswith(words) for line in configuration.warnings(loaded(tmp_path, text)))


def test_the_rate_is_measured_against_what_the_service_grants(tmp_path: Path) -> None:
    """`/chunk` grants 200 requests per second, and other hosts are nobody's business."""
    for url in ("https://data.geopf.fr/chunk/telechargement/capabilities", "https://example.org/"):
        text = minimal(top='contact = "a"', upstream="requests_per_second = 50").replace(URL, url)
        assert configuration.warnings(loaded(tmp_path, text)) == []


# Examples and template


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_loads_without_warning(path: Path) -> None:
    settings = load(path, {})
    assert settings.subscription
    assert configuration.warnings(settings) == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("name", KNOWN_UPSTREAMS)
def test_the_template_loads_as_it_is_and_with_every_example_in_force(tmp_path: Path, name: str) -> None:
    text = init_text(*find_upstream(name), tmp_path / "mirror")
    settings = loaded(tmp_path, text)
    assert (settings.root, settings.upstream[name].url) == (tmp_path / "mirror", KNOWN_UPSTREAMS[name].url)
    key_file(tmp_path).rename(tmp_path / "api-key")
    everything = loaded(tmp_path, re.sub(r"(?m)^#(?=[a-z_\[])", "", text))
    assert everything.subscription["topo-savoie"].upstream == name
    assert (everything.upstream[name].api_key is not None) == KNOWN_UPSTREAMS[name].needs_key
    assert settings.limits == everything.limits, "what is shown commented out in [limits] are the defaults"


@given(root=st.text(min_size=1), host=st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,20}){0,5}", fullmatch=True))
def test_the_template_quotes_what_it_is_given(root: str, host: str) -> None:
    name, url = find_upstream(f"http://{host}:8080/service.xml")
    written = tomllib.loads(init_text(name, url, root))
    assert written["root"] == root
    assert written["upstream"] == {name: {"url": url}}


def test_known_upstreams_go_by_name_and_others_by_their_host() -> None:
    assert find_upstream("geoplateforme") == ("geoplateforme", URL)
    assert find_upstream(URL) == ("geoplateforme", URL)
    assert find_upstream("chunk")[0] == "geoplateforme-chunk"
    assert find_upstream("https://www.atom.example.org/service.xml")[0] == "atom.example.org"
    assert find_upstream("http://[::1]:80/x")[0] == "upstream"
    assert find_upstream("http://api/x")[0] == "upstream"
    for wrong in ("ign", "", "ftp://example.org", f"https://u:{SECRET}@example.org"):
        with pytest.raises(ConfigError, match="geoplateforme-private") as refused:
            find_upstream(wrong)
        assert SECRET not in str(refused.value)
