"""Edits of documents, to be put together: what is found by a path is taken out, moved, doubled or changed."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from .visit import Element


def _found(root: Element, path: str) -> Element:
    found = root.find(path)
    assert found is not None, path
    return found


def take(path: str) -> Callable[[Element], None]:
    """Takes out what is found by a path."""

    def edit(root: Element) -> None:
        found = _found(root, path)
        parent = found.getparent()
        assert parent is not None
        parent.remove(found)

    return edit


def say(path: str, text: str) -> Callable[[Element], None]:
    """Puts another text in the place of one."""

    def edit(root: Element) -> None:
        found = _found(root, path)
        found.text = text

    return edit


def put(path: str, **attributes: str | None) -> Callable[[Element], None]:
    """Sets attributes, or takes away those that are None."""

    def edit(root: Element) -> None:
        found = _found(root, path)
        for name, value in attributes.items():
            if value is None:
                del found.attrib[name]
            else:
                found.set(name, value)

    return edit


def again(path: str) -> Callable[[Element], None]:
    """Has what is found by a path a second time."""

    def edit(root: Element) -> None:
        found = _found(root, path)
        found.addnext(etree.fromstring(etree.tostring(found)))

    return edit


def later(path: str) -> Callable[[Element], None]:
    """Moves what is found by a path behind the next element."""

    def edit(root: Element) -> None:
        found = _found(root, path)
        following = found.getnext()
        assert following is not None, path
        following.addnext(found)

    return edit


def called(path: str, tag: str) -> Callable[[Element], None]:
    """Gives another tag to what is found by a path."""

    def edit(root: Element) -> None:
        found = _found(root, path)
        found.tag = tag

    return edit


def both(*edits: Callable[[Element], object]) -> Callable[[Element], None]:
    def edit(root: Element) -> None:
        for one in edits:
            one(root)

    return edit
