"""Settings from anything whatever."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror import settings as configuration
from mirror.errors import ConfigError
from mirror.settings import Settings, effective, from_mapping, load
from tests.configs import SECRET, URL

# Anything else


NAMES = ["root", "contact", "upstream", "subscription", "limits", "serve", "geo", "x"]
KEYS = [
    *configuration.Upstream.model_fields,
    *configuration.Subscription.model_fields,
    *configuration.Limits.model_fields,
    *configuration.Serve.model_fields,
]
WORDS = [
    "latest",
    "all",
    "..",
    "2024-01-01..",
    "daily 25:00",
    "* * * * *",
    "1 GiB",
    "7d",
    "geo",
    "~",
    "~nobody/x",
    "",
    URL,
    "[",
    "https://[",
]
scalars = (
    st.sampled_from(WORDS)
    | st.text()
    | st.integers()
    | st.sampled_from([2**63, 10**400])
    | st.floats()
    | st.booleans()
    | st.dates()
    | st.datetimes()
    | st.times()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(NAMES + KEYS) | st.text(), inner, max_size=8),
    max_leaves=30,
)
tables = st.dictionaries(st.sampled_from(KEYS), values, max_size=8)
configs = st.fixed_dictionaries(
    {},
    optional={
        "root": values,
        "contact": values,
        "upstream": values | st.dictionaries(st.sampled_from(NAMES) | st.text(), tables, max_size=3),
        "subscription": values | st.dictionaries(st.sampled_from(NAMES) | st.text(), tables, max_size=3),
        "limits": values | tables,
        "serve": values | tables,
        "other": values,
    },
)
variables = st.dictionaries(
    st.builds(
        "__".join, st.lists(st.sampled_from([name.upper() for name in NAMES + KEYS]) | st.text(), min_size=1, max_size=4)
    ).map("INSPIRE_MIRROR_{}".format),
    st.sampled_from(WORDS) | st.text(),
    max_size=4,
)


def attempt(loading: Callable[[], Settings]) -> tuple[Settings | None, ConfigError | None]:
    """The settings, or the one error that is allowed; any other goes on to the test."""
    try:
        return loading(), None
    except ConfigError as error:
        return None, error


@given(config=configs, environ=variables)
def test_any_config_loads_or_is_refused_line_by_line_and_keeps_its_secret(config: dict[str, Any], environ: dict[str, str]) -> None:
    """Whatever TOML can hold: settings that can be shown, or a ConfigError of one printable line per problem; never the key."""
    upstream = config.setdefault("upstream", {})
    if isinstance(upstream, dict):
        upstream["private"] = {
            "url": f"https://u:{SECRET}@example.org",
            "api_key": SECRET,
            "apikey": SECRET,
            "api_key_file": SECRET,
        }
    settings, error = attempt(lambda: from_mapping(config, Path("/etc/inspire-mirror"), environ))
    if settings is not None:
        shown = json.dumps(effective(settings)) + repr(settings) + "".join(configuration.warnings(settings))
    else:
        assert all(line.isprintable() and line for line in str(error).split("\n"))
        shown = "".join(traceback.format_exception(error, chain=True))
    assert SECRET not in shown


@given(config=configs, environ=variables)
def test_the_caller_keeps_what_it_gave(config: dict[str, Any], environ: dict[str, str]) -> None:
    before = repr(config)
    attempt(lambda: from_mapping(config, Path("/etc/inspire-mirror"), environ))
    assert repr(config) == before


@given(
    st.text()
    | st.lists(st.sampled_from(["root", "[", "]", "upstream", ".", "=", '"', "'", "\n", "#", "{", "}", "1", " "])).map("".join)
)
def test_any_text_loads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", newline="")
    settings, error = attempt(lambda: load(path, {}))
    assert settings or str(error)


def test_settings_are_light_to_import() -> None:
    """They are on the way of `query`, which starts in less than 0.4 s: no library of another room comes with them."""
    code = "import sys, mirror.settings; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"aiohttp", "asyncio", "sqlite3", "sqlite_utils", "lxml", "rich", "click", "hypothesis"} & set(modules)
