"""Commands: parse, call, render; nothing is decided here."""

from mirror.cli.app import main

__all__ = ["main"]
