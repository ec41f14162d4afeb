"""The catalogue of French is complete, says what the source says, and is what the program reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Message
from jinja2 import Environment, nodes

from packing.messages import KEYWORDS, LANGUAGES, SOURCE, catalogue_of, compiled, po_of, template


def messages(code: str) -> list[Message]:
    return [message for message in catalogue_of(code) if message.id]


def forms(text: object) -> list[str]:
    """The one form of a message, or all of its forms."""
    return [text] if isinstance(text, str) else [str(form) for form in text] if isinstance(text, list | tuple) else []


def fields(text: str) -> set[tuple[str, str | None]]:
    """The placeholders of a message, with how they are converted."""
    return {(name, conversion) for _, name, _, conversion in Formatter().parse(text) if name is not None}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the source that makes a message."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS:
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_catalogue_has_what_is_in_the_source_and_nothing_else(code: str) -> None:
    """`make messages` brings it up to date."""
    assert {message.id for message in messages(code)} == {message.id for message in template() if message.id}
    assert not catalogue_of(code).obsolete


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_message_is_translated_in_every_form(code: str) -> None:
    number = catalogue_of(code).num_plurals
    for message in messages(code):
        assert not message.fuzzy, message.id
        found = forms(message.string)
        assert len(found) == (number if message.pluralizable else 1), message.id
        assert all(form.strip() for form in found), message.id


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_translation_has_the_placeholders_of_its_message(code: str) -> None:
    for message in messages(code):
        wanted = fields(forms(message.id)[-1])
        assert all(fields(form) == wanted for form in forms(message.string)), message.id


@pytest.mark.parametrize("code", LANGUAGES)
def test_what_the_program_reads_is_made_of_what_translators_write(code: str) -> None:
    assert po_of(code).with_suffix(".mo").read_bytes() == compiled(catalogue_of(code))


def test_french_has_spaces_that_do_not_break_where_french_has_them() -> None:
    """Before : ; ! ? and within « »; and no double ones."""
    for message in messages("fr"):
        for form in forms(message.string):
            assert not re.search(r" [:;!?»]|« |«\w|\w»|  ", form), form
            assert not re.search(r"[^\u202f\s][;!?](?= |$)|[^\u00a0\s]:(?= |$)", form), form


def test_french_has_curved_apostrophes_but_in_code() -> None:
    for message in messages("fr"):
        for form in forms(message.string):
            assert "'" not in re.sub("`[^`]*`", "", form), form


def test_messages_are_literals_and_have_all_their_arguments() -> None:
    """What is put together before it is given to `phrase` is found by nobody, and stays English; so does a plain f-string."""
    for place, call in calls():
        texts = call.args[1:] if isinstance(call.func, ast.Name) and call.func.id == "plural" else call.args
        assert texts, place
        assert all(isinstance(text, ast.Constant) and isinstance(text.value, str) for text in texts), place
        given = {keyword.arg for keyword in call.keywords}
        if None not in given:
            extra = {"n"} if len(call.args) > 1 else set()
            needed = {name for text in texts if isinstance(text, ast.Constant) for name, _ in fields(str(text.value))}
            assert needed - extra == given, place
    assert len(list(calls())) > 100


def test_templates_say_literals_and_give_all_their_arguments() -> None:
    """The same of the templates of pages; a text that stands between their tags and is no message is found in `test_pages`."""
    seen = 0
    for path in sorted(SOURCE.rglob("templates/*.html")):
        for call in Environment(autoescape=True).parse(path.read_text("utf-8")).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in KEYWORDS:
                seen += 1
                many = call.node.name == "plural"
                texts = [text.value for text in call.args[many:] if isinstance(text, nodes.Const)]
                assert len(texts) == len(call.args) - many, f"{path.name}:{call.lineno}"
                needed = {name for text in texts for name, _ in fields(text)} - ({"n"} if many else set())
                assert needed == {keyword.key for keyword in call.kwargs}, f"{path.name}:{call.lineno}"
    assert seen > 100


def test_the_package_carries_its_catalogues() -> None:
    """Nothing keeps them from the wheel: they lie in the package, and no ignore rule names them."""
    ignored = (Path(SOURCE).parent / ".gitignore").read_text("utf-8")
    assert ".mo" not in ignored
    for code in LANGUAGES:
        assert po_of(code).is_relative_to(SOURCE)
