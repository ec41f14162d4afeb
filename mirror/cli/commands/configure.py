"""`init` and `config check`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mirror.cli.app import Invocation, json_option, pass_invocation, print_json, reports_errors
from mirror.errors import ConfigError


@click.command(short_help="Write a commented config to start from.")
@click.option("--upstream", default="geoplateforme", show_default=True, metavar="NAME_OR_URL", help="What to mirror.")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=".")
@json_option
@reports_errors
def init(upstream: str, folder: Path, as_json: bool) -> None:
    """Write DIR/inspire-mirror.toml, commented, to start from. Never overwrites a file."""
    from mirror.config_template import init_text
    from mirror.settings import CONFIG_NAME, find_upstream

    name, url = find_upstream(upstream)
    path = folder / CONFIG_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise ConfigError(f"{path} exists and is left as it is; edit it, or name another folder") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        stream.write(init_text(name, url, "mirror"))
    if as_json:
        print_json({"config": str(path.absolute()), "upstream": name, "url": url})
    else:
        click.echo(f"wrote {path}; choose a subscription in it, then: inspire-mirror{_option(path)} plan")


def _option(path: Path) -> str:
    return "" if path.parent == Path() else f" -c {path}"


@click.group(short_help="Check the config.")
def config() -> None:
    """Work on the config."""


@config.command(short_help="Validate the config and show what is in effect.")
@json_option
@pass_invocation
@reports_errors
def check(invocation: Invocation, as_json: bool) -> None:
    """Validate the config. With --json, print the settings in effect: defaults and environment included, secrets masked."""
    from mirror.settings import effective, load_found, warnings

    settings, source = load_found(invocation.config, os.environ, Path.cwd())
    remarks = warnings(settings)
    for remark in remarks:
        click.echo(f"warning: {remark}", err=True)
    if as_json:
        print_json(effective(settings))
        return
    click.echo(f"{source}: valid")
    click.echo(f"  root: {settings.root}")
    for name, upstream in settings.upstream.items():
        click.echo(f"  upstream {name}: {upstream.url}")
    for name, subscription in settings.subscription.items():
        click.echo(f"  subscription {name}: {', '.join(subscription.resources)} from {subscription.upstream}")
    if not settings.subscription:
        click.echo("  no subscription yet: nothing will be mirrored")
