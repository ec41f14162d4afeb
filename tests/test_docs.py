"""The documentation says what the program does: every key, command, option, code block and link in it is checked here.

After a change of a help text, `UPDATE_DOCS=1 pytest tests/test_docs.py` writes the new one into docs/commands.md.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mirror.cli.app import cli
from mirror.pruning import PruneAction, PruneRefusal, PruneReport
from mirror.settings import Limits, Serve, Service, Settings, Subscription, Upstream, from_mapping
from mirror.store.index import Index
from mirror.store.query import MirroredFile
from mirror.sync.report import EXIT_CODES, Report

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
READMES = [ROOT / "README.md", ROOT / "README.fr.md"]
PAGES = [*READMES, ROOT / "CHANGELOG.md", *DOCS]
COMMANDS = ROOT / "docs" / "commands.md"
CONFIGURE = ROOT / "docs" / "configure.md"

SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": Settings,
    "[upstream.NAME]": Upstream,
    "[subscription.NAME]": Subscription,
    "[limits]": Limits,
    "[serve]": Serve,
    "[service]": Service,
}
TABLES = {"upstream", "subscription", "limits", "serve", "service"}
"""Keys of the top level that are tables, with a section of their own."""

Row = tuple[str, str, str, str]


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def section(page: Path, heading: str) -> str:
    """The text under a heading of the second level."""
    for part in re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        if title == heading:
            return text
    pytest.fail(f"{page.name} has no section {heading!r}")


def rows(heading: str) -> list[Row]:
    """Key, type, default and meaning of each setting that a section of docs/configure.md documents."""
    found = []
    for line in section(CONFIGURE, heading).splitlines():
        if line.startswith("| `"):
            key, kind, default, meaning = (cell.strip() for cell in line.strip("|").split(" | "))
            found.append((key.strip("`"), kind, default, meaning))
    return found


def config(**tables: dict[str, Any]) -> Settings:
    """Settings with one upstream and one subscription, of which `tables` give further keys."""
    data: dict[str, Any] = {
        **tables.get("top", {"root": "mirror"}),
        "upstream": {"here": {"url": "https://example.org/telechargement/capabilities", **tables.get("upstream", {})}},
        "subscription": {"all": {"resources": ["*"], **tables.get("subscription", {})}},
        "limits": tables.get("limits", {}),
        "serve": tables.get("serve", {}),
        "service": tables.get("service", {}),
    }
    return from_mapping(data, Path("/folder"), {}, offline=True)


# -- settings


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_settings_key_is_documented_and_every_documented_key_exists(heading: str) -> None:
    documented = [key for key, *_ in rows(heading)]
    assert sorted(documented) == sorted(SECTIONS[heading].model_fields.keys() - (TABLES if heading == "Top level" else set()))


@pytest.mark.parametrize("heading", SECTIONS)
def test_documented_defaults_are_those_of_the_program(heading: str) -> None:
    """A default is `required`, `none`, or the TOML value that means the same as leaving the key out."""
    table = re.sub(r"[\[\]]|\.NAME", "", heading)
    for key, _, default, _ in rows(heading):
        field = SECTIONS[heading].model_fields[key]
        if default == "required" or default == "the only one":
            assert field.default is PydanticUndefined, key
        elif default == "none":
            assert field.default is None, key
        else:
            value = tomllib.loads(f"value = {default.strip('`')}")["value"]
            assert config(**{table: {key: value}}) == config(), key


def toml_blocks() -> Iterator[tuple[str, str]]:
    for page in [*READMES, *DOCS]:
        for number, block in enumerate(blocks(page, "toml"), 1):
            yield f"{page.name}-{number}", block


@pytest.mark.parametrize("block", [pytest.param(block, id=name) for name, block in toml_blocks()])
def test_config_examples_load(block: str, tmp_path: Path) -> None:
    """As they stand, or, if they are a part of a config, with the rest of one around them."""
    data = tomllib.loads(block)
    data.setdefault("root", "mirror")
    data.setdefault("upstream", {"here": {"url": "https://example.org/telechargement/capabilities"}})
    assert from_mapping(data, tmp_path, {}, offline=True).root


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in sorted((ROOT / "config").glob("*.toml"))])
def test_example_configs_load(path: Path) -> None:
    assert from_mapping(tomllib.loads(path.read_text("utf-8")), path.parent, {}).subscription


# -- commands


def commands_of(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def help_text(command: str) -> str:
    """What `--help` prints for a command, or for the program if it is empty, 100 columns wide."""
    context = click.Context(cli, info_name="inspire-mirror", terminal_width=100, max_content_width=100)
    found: click.Command = cli
    for name in command.split():
        assert isinstance(found, click.Group)
        child = found.get_command(context, name)
        assert child is not None
        found = child
        context = click.Context(found, info_name=name, parent=context, terminal_width=100, help_option_names=["-h", "--help"])
    if not command:
        context.help_option_names = ["-h", "--help"]
    return found.get_help(context).rstrip() + "\n"


HELP = re.compile(r"^<!-- help ?(?P<command>[a-z ]*?) ?-->\n(?:\n```text\n(?P<text>.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def test_docs_have_the_help_text_of_every_command() -> None:
    """Line breaks aside. `UPDATE_DOCS=1` brings the page up to date first."""
    page = COMMANDS.read_text("utf-8")
    if os.environ.get("UPDATE_DOCS"):

        def fresh(found: re.Match[str]) -> str:
            text = "\n".join(line.rstrip() for line in help_text(found["command"]).splitlines())
            return f"<!-- help{' ' * bool(found['command'])}{found['command']} -->\n\n```text\n{text}\n```\n"

        page = HELP.sub(fresh, page)
        COMMANDS.write_text(page, "utf-8")
    documented = {found["command"]: "".join((found["text"] or "").split()) for found in HELP.finditer(page)}
    expected = ["", *(name for name, _ in commands_of(cli))]
    assert documented == {name: "".join(help_text(name).split()) for name in expected}


@pytest.mark.parametrize(("name", "command"), [pytest.param(*pair, id=pair[0]) for pair in commands_of(cli)])
def test_every_option_is_documented_and_no_other(name: str, command: click.Command) -> None:
    text = section(COMMANDS, name)
    exist = {opt for option in command.params if isinstance(option, click.Option) for opt in (*option.opts, *option.secondary_opts)}
    shown = HELP.search(text)
    assert shown is not None
    assert exist <= set(re.findall(r"(?<![\w-])--?[a-z0-9][a-z-]*", text))
    everywhere = {opt for _, other in commands_of(cli) for o in other.params if isinstance(o, click.Option) for opt in o.opts}
    mentioned = set(re.findall(r"`(--[a-z-]+)", text))
    assert mentioned <= everywhere | {"--help"} | {"--no-sizes"}


def test_exit_codes_are_all_documented() -> None:
    table = section(COMMANDS, "Exit codes")
    for code in {*EXIT_CODES.values(), 2, 3}:
        assert re.search(rf"^\| {code} \|", table, re.MULTILINE), code


def test_fields_of_the_json_documents_are_documented() -> None:
    sync, query = section(COMMANDS, "sync"), section(COMMANDS, "query")
    for field in Report().as_json():
        assert f"`{field}`" in sync, field
    for field in (*PruneReport().as_json(), *PruneReport(dry_run=True).as_json(), *PruneAction.__slots__, *PruneRefusal.__slots__):
        assert f"`{field}`" in section(COMMANDS, "prune"), field
    assert ", ".join(name for name in MirroredFile._fields if name != "members") in " ".join(query.split())
    assert "`members`" in query


# -- the index


def statements(page: Path) -> list[str]:
    sql = "".join(re.sub(r"^--.*$", "", block, flags=re.MULTILINE) for block in blocks(page, "sql"))
    return [text for text in sql.split(";") if text.strip()]


def test_sql_examples_run(tmp_path: Path) -> None:
    """On the tables of a new index."""
    found = [text for page in DOCS for text in statements(page)]
    with Index(tmp_path) as index:
        for text in found:
            assert index.connection.execute(text).fetchall() == []
    assert found


def test_columns_of_files_are_documented(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "index.md").read_text("utf-8").partition("Columns of `files`:")[2].partition("\n\n")[0]
    with Index(tmp_path) as index:
        columns = [row["name"] for row in index.connection.execute("PRAGMA table_info(files)")]
    assert [name for name in re.findall(r"`(\w+)`", text) if name != "root"] == columns


# -- pages


@pytest.mark.parametrize("page", names(PAGES))
def test_links_lead_somewhere(page: str) -> None:
    """To a file of the project and, behind a #, to a heading in it."""
    source = ROOT / page
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", source.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        place = source.parent / path if path else source
        assert place.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


def test_both_readmes_have_the_same_structure() -> None:
    """The same headings by level, the same number of blocks, tables and items, and the same commands, config and Python."""
    english, french = (page.read_text("utf-8") for page in READMES)
    for sign in (r"^#+ ", r"^- ", r"^\|", r"^```\w+$", r"^\*\*"):
        pattern = re.compile(sign, re.MULTILINE)
        assert pattern.findall(english) == pattern.findall(french), sign
    for language, (one, other) in product(("toml", "python", "console"), [READMES]):
        assert blocks(one, language) == blocks(other, language)
    code = [[re.sub(r"\s*#.*", "", block) for block in blocks(page, "sh")] for page in READMES]
    assert code[0] == code[1]


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=f"{page.name}-{n}") for page in PAGES for n, b in enumerate(blocks(page, "python"))]
)
def test_python_examples_compile(block: str) -> None:
    compile(block, "example", "exec")


@pytest.mark.parametrize("page", names(PAGES))
def test_pages_can_be_read_in_one_sitting(page: str) -> None:
    """At most some 3,500 words; more only where single entries are looked up."""
    assert len((ROOT / page).read_text("utf-8").split()) < (5000 if page == "docs/commands.md" else 3500)
