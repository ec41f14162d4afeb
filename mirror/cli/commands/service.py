"""`serve` and `run`: the mirror over HTTP, alone or with the whole service."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import click

from mirror.cli.app import Invocation, finish, json_option, pass_invocation, print_json, reports_errors, say

if TYPE_CHECKING:
    from mirror.settings import Settings


@click.command(short_help="Serve the mirror over HTTP.")
@click.option("--listen", metavar="HOST:PORT", help="Listen there instead, as 127.0.0.1:8421; port 0 takes a free one.")
@json_option
@pass_invocation
@reports_errors
def serve(invocation: Invocation, listen: str | None, as_json: bool) -> None:
    """Serve what is mirrored over HTTP, at `listen` of [serve]: the API of the upstream, INSPIRE Atom, and pages for people.

    It only reads, and syncs nothing; `run` does both. Stays up until SIGTERM or Ctrl-C; SIGHUP has it read its config again.
    """
    from mirror.service.server import serve_only
    from mirror.settings.addresses import parse_listen

    try:
        address = None if listen is None else parse_listen(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None

    def load() -> Settings:
        settings = invocation.settings(offline=True, serving=True)
        if address is None:
            return settings
        return settings.model_copy(update={"serve": settings.serve.model_copy(update={"listen": address})})

    _keep_for_good()
    ended = asyncio.run(serve_only(load(), load, invocation.watcher(bars=False)))
    if as_json:
        print_json({"signal": ended.by.name, "exit_code": ended.exit_code})
    finish(ended.exit_code)


@click.command(short_help="Be the service: sync by the clock and on demand.")
@json_option
@pass_invocation
@reports_errors
def run(invocation: Invocation, as_json: bool) -> None:
    """Keep the mirror in sync: each subscription by its `schedule`, and whatever `sync` asks for. Stays up until it is told to end.

    One per mirror. SIGTERM and Ctrl-C end it within 10 seconds, and lose nothing; SIGHUP has it read its config again. The systemd
    unit inspire-mirror.service starts this.
    """
    from mirror.service.service import serve
    from mirror.settings import warnings

    settings = invocation.settings()
    if not invocation.quiet:
        for remark in warnings(settings):
            say(remark, "warning")
    _keep_for_good()
    ended = asyncio.run(serve(settings, invocation.settings, invocation.watcher(bars=False)))
    if as_json:
        print_json({"signal": ended.by.name, "runs": ended.runs, "exit_code": ended.exit_code})
    finish(ended.exit_code)


def _keep_for_good() -> None:
    """What has been imported by now stays: looking all of it through for garbage would stop every answer for some 50 ms."""
    gc.collect()
    gc.freeze()
