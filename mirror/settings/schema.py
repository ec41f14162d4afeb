"""What can be set, with its defaults: frozen models, checked as they are made.

The field names are the keys of the config file, so these models are public API. Messages of the validators say what is allowed and
never repeat the value; `problems` adds the value where it cannot be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from mirror.model import BBox
from mirror.planning.edition import Edition, Latest, parse_edition
from mirror.planning.schedule import Schedule
from mirror.planning.timetable import Bandwidth, Window
from mirror.settings.addresses import Address, check_accel, check_public_url, check_redirect_host, check_service_url, parse_listen
from mirror.settings.commands import PUBLISHED, RAN, check_command
from mirror.settings.hours import LOCAL, check_zone, format_bandwidth, parse_bandwidth, parse_window
from mirror.settings.known import RESERVED_NAMES, UPSTREAM_NAME
from mirror.settings.schedule import parse_schedule
from mirror.settings.units import format_duration, format_size, parse_duration, parse_rate, parse_size

MASK = "********"
"""What stands for a secret wherever settings are shown."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _line(value: object) -> str:
    """One line of text with something in it."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    if not value.strip():
        raise ValueError("must not be empty")
    if _CONTROL.search(value):
        raise ValueError("must be one line, without control characters")
    return value.strip()


def _contact(value: object) -> str | None:
    return None if value is None or value == "" else _line(value)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError('must be a list, in brackets: ["..."]')
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of texts")
    texts = []
    for number, item in enumerate(value, 1):
        try:
            texts.append(_line(item))
        except ValueError as error:
            raise ValueError(f"item {number} {error}") from None
    return tuple(texts)


def _some_texts(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    if not texts:
        raise ValueError('must name at least one; ["*"] takes all')
    return texts


def _published_command(value: object, info: ValidationInfo) -> tuple[str, ...]:
    return check_command(_texts(value), PUBLISHED, _folder(info))


def _ran_command(value: object, info: ValidationInfo) -> tuple[str, ...]:
    return check_command(_texts(value), RAN, _folder(info))


def _hosts(value: object) -> tuple[str, ...]:
    hosts = []
    for number, text in enumerate(_texts(value), 1):
        try:
            hosts.append(check_redirect_host(text))
        except ValueError as error:
            raise ValueError(f"item {number} {error}") from None
    return tuple(hosts)


def _folder(info: ValidationInfo) -> Path:
    """Where relative paths start."""
    return Path(info.context["folder"]) if info.context else Path()


def _path(value: object, info: ValidationInfo) -> Path:
    """An absolute path: `~` is the home folder, and what is relative starts at the folder of the config file."""
    text = _line(str(value) if isinstance(value, Path) else value)
    try:
        return Path(_folder(info), Path(text).expanduser()).resolve()
    except (OSError, RuntimeError):
        raise ValueError("must be a path that can be followed") from None


def _some_time(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than nothing")
    return value


def _a_day_at_most(value: timedelta) -> timedelta:
    if value > timedelta(days=1):
        raise ValueError("must be a day at most")
    return value


def _bbox(value: object) -> BBox:
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise ValueError("must be four numbers: west, south, east, north")
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in value):
        raise ValueError("must be four numbers: west, south, east, north")
    west, south, east, north = value
    if not _on_earth(west, south, east, north):
        swapped = "; latitude and longitude look swapped" if _on_earth(south, west, north, east) else ""
        raise ValueError(f"must be in degrees, as west, south, east, north: -180 to 180 and -90 to 90{swapped}")
    if west > east:
        raise ValueError("must have west before east; a box across the antimeridian takes two subscriptions")
    if south > north:
        raise ValueError("must have south before north")
    return float(west), float(south), float(east), float(north)


def _on_earth(west: float, south: float, east: float, north: float) -> bool:
    return all(-180 <= x <= 180 for x in (west, east)) and all(-90 <= y <= 90 for y in (south, north))


def check_key(value: object) -> SecretStr:
    """A key as it is sent, without the blanks around it. Raises ValueError, which does not repeat it."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        raise ValueError("must be text")
    if not text.strip() or re.search(r"\s", text.strip()) or _CONTROL.search(text.strip()):
        raise ValueError("must be one word, without blanks or control characters")
    return SecretStr(text.strip())


def _name(value: str) -> str:
    if not UPSTREAM_NAME.fullmatch(value):
        raise ValueError('must be a name of at most 64 letters, digits, ".", "_" or "-" that starts with a letter or digit')
    return value


def _upstream_name(value: str) -> str:
    if _name(value) in RESERVED_NAMES:
        raise ValueError("must be another name: the HTTP interface uses this one")
    return value


Name = Annotated[str, AfterValidator(_name)]
UpstreamName = Annotated[str, AfterValidator(_upstream_name)]
Line = Annotated[str, BeforeValidator(_line)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(_hosts)]
SomeTexts = Annotated[tuple[str, ...], BeforeValidator(_some_texts)]
Folder = Annotated[Path, BeforeValidator(_path)]
PublishedCommand = Annotated[tuple[str, ...], BeforeValidator(_published_command)]
RanCommand = Annotated[tuple[str, ...], BeforeValidator(_ran_command)]
Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size)]
Rate = Annotated[int, BeforeValidator(parse_rate), PlainSerializer(format_size)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
Key = Annotated[SecretStr, BeforeValidator(check_key), PlainSerializer(lambda _: MASK, return_type=str)]
Editions = Annotated[Edition, BeforeValidator(parse_edition), PlainSerializer(str)]
Zone = Annotated[str, BeforeValidator(check_zone)]
Hours = Annotated[Window, BeforeValidator(parse_window), PlainSerializer(str)]
Rates = Annotated[Bandwidth, BeforeValidator(parse_bandwidth), PlainSerializer(format_bandwidth)]
When = Annotated[Schedule, BeforeValidator(parse_schedule), PlainSerializer(str)]
Listen = Annotated[Address, BeforeValidator(parse_listen), PlainSerializer(str)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Table(BaseModel):
    """A table of the config: nothing is converted silently, nothing unknown passes, nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Upstream(_Table):
    """One service to mirror from: `[upstream.NAME]`."""

    url: Annotated[str, BeforeValidator(check_service_url)]
    """Where its listing starts: the capabilities, or the service feed."""

    dialect: Literal["geoplateforme", "inspire"] | None = None
    """How its feeds are spelt; None finds out from the first answer."""

    requests_per_second: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] = 4.0
    """Over all workers. IGN grants 10 [O]; clients report that about 1 is safe over hours, and one crawls at 8 [C]."""

    downloads: Annotated[int, Field(ge=1, le=64)] = 4
    """Transfers at once. Eight are fine, sixteen draw 429 [C]."""

    bandwidth: Rates | None = None
    """Bytes per second over all transfers of this upstream, perhaps by the time of day; None is no limit."""

    min_speed: Rate = 64_000
    """Bytes per second: a transfer that stays below it is resumed on a new connection. 0 never gives one up."""

    full_listing_every: Annotated[Duration, AfterValidator(_some_time)] = timedelta(days=7)
    """Between full listings, only what changed is listed."""

    retry_for: Duration = timedelta(seconds=60)
    """How long an upstream that cannot be listed is tried again before the run gives up."""

    api_key: Key | None = None
    """Sent as `?apikey=` with every request to a private service [O]. Holds the key of `api_key_file` too, once loaded."""

    api_key_file: Folder | None = None
    """A file that holds the key and nothing else, for systemd's `LoadCredential=`."""

    ca_file: Folder | None = None
    """Certificates (PEM) to trust instead of the system's, for a service behind a private authority."""

    redirect_hosts: Hosts = ()
    """Other hosts to which a redirect may lead: `HOST` (its usual port) or `HOST:PORT`. The key is never sent there."""

    @property
    def host(self) -> str:
        """Where it is served from, as far as limits are concerned: host and port."""
        return urlsplit(self.url).netloc.lower()

    @field_validator("api_key_file")
    @classmethod
    def _one_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("api_key") is not None:
            raise ValueError("must not be given together with api_key; keep one of them")
        return value


class Subscription(_Table):
    """What is wanted from an upstream: `[subscription.NAME]`. An empty list does not filter."""

    upstream: Line
    """The name of its upstream; in the file it may be left out where there is only one."""

    resources: SomeTexts
    """Globs on the resource id."""

    sub_resources: Texts = ()
    """Globs on the sub-resource id."""

    zones: Texts = ()
    """As upstream codes them."""

    formats: Texts = ()
    crs: Texts = ()

    files: Texts = ()
    """Globs on the file name."""

    edition: Editions = Latest()
    bbox: Annotated[BBox, BeforeValidator(_bbox)] | None = None
    """West, south, east, north in degrees; keeps what intersects it."""

    keep: Annotated[int, Field(ge=1, le=9999)] | None = None
    """Editions that `prune` leaves per series; None is all that were mirrored."""

    publish: Literal["whole", "each"] = "whole"
    """All files of a sub-resource or none, or every file once it is verified."""

    extract: bool = False
    """Whether archives are unpacked beside them."""

    schedule: When | None = None
    """When the service syncs it; None is never."""

    timezone: Zone | None = None
    """Of the hours in `schedule`; None is that of `[service]`."""

    stale_after: Annotated[Duration, AfterValidator(_some_time)] | None = None
    """How old its last success may be before /health says so; None goes by the schedule."""

    on_publish: PublishedCommand = ()
    """A command and its arguments, run after a sub-resource is published; `{path}` and the like stand for its facts."""

    on_failure: RanCommand = ()
    """A command, run after a sync that left the subscription incomplete."""

    on_complete: RanCommand = ()
    """A command, run after a sync that left the subscription complete."""

    hook_timeout: Annotated[Duration, AfterValidator(_some_time)] = timedelta(hours=1)
    """How long one of these commands may take before it is ended."""

    @field_validator("on_publish")
    @classmethod
    def _is_extracted(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not info.data.get("extract", True) and any("{extracted}" in argument for argument in value):
            raise ValueError("names {extracted}, where nothing would be: it needs extract = true")
        return value


class Limits(_Table):
    """What a run may do before it refuses: `[limits]`."""

    max_delete_ratio: Ratio = 0.4
    """Of a subscription's files or bytes, in one prune."""

    max_shrink_ratio: Ratio = 0.4
    """Of a listing against the last one."""

    min_free: Size = 2**30
    """Bytes that stay free on the disk of the mirror."""

    max_extract_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 200.0
    """Unpacked to packed bytes; an archive beyond it is taken for a bomb."""

    max_members: Annotated[int, Field(ge=1)] = 100_000
    """Files and folders in one archive; beyond it, it is taken for a bomb."""

    test_archives: bool | None = None
    """Whether archives are tested as a whole before they are published; None tests those for which upstream gives no MD5."""

    grace: Duration = timedelta(days=3)
    """How long an edition stays after a newer one has come, whatever `keep` says: readers of it are not cut."""


class Serve(_Table):
    """The mirror over HTTP: `[serve]`."""

    listen: Listen = Address("127.0.0.1", 8420)
    public_url: Annotated[str, BeforeValidator(check_public_url)] | None = None
    """What links in served pages start with, without a last slash; None takes it from each request."""

    token: Key | None = None
    """Whoever asks for `/metrics` or `/api` has to name it; None asks for none. Holds that of `token_file` too, once loaded."""

    token_file: Folder | None = None
    """A file that holds the token and nothing else, for systemd's `LoadCredential=`."""

    accel: Annotated[str, BeforeValidator(check_accel)] | None = None
    """The internal location under which nginx (X-Accel-Redirect) has the folder `data`, to send the files itself; None sends them
    from here.
    """

    @field_validator("token_file")
    @classmethod
    def _one_token(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("token") is not None:
            raise ValueError("must not be given together with token; keep one of them")
        return value


class Service(_Table):
    """The service that `run` is: `[service]`."""

    timezone: Zone = LOCAL
    """Of every hour of the day in the config: schedules, `window`, `bandwidth`."""

    jitter: Annotated[Duration, AfterValidator(_a_day_at_most)] = timedelta(minutes=10)
    """All scheduled runs of this machine come so much later at most, always by the same time, so that not all mirrors of a country
    ask at once. Never more than a tenth of the time between two runs."""

    window: Hours | None = None
    """The hours in which scheduled runs download; None is at any time."""

    socket: Folder | None = None
    """Where the commands find the service; None is `control.sock` in the runtime folder of systemd, else in `.staging`."""

    textfile: Folder | None = None
    """A file for the textfile collector of Prometheus' node_exporter, written after each `sync`."""

    probe_every: Duration = timedelta(hours=1)
    """How often an upstream is asked for one small page, to know whether it answers; 0 never asks."""

    stalled_after: Annotated[Duration, AfterValidator(_some_time)] = timedelta(hours=2)
    """How long a run may show no sign of progress before the service has itself restarted."""


class Settings(_Table):
    """The whole config."""

    root: Folder
    """The folder of the mirror."""

    contact: Annotated[str | None, BeforeValidator(_contact)] = None
    """Whom the operator of an upstream can write to; a part of the User-Agent."""

    upstream: Mapping[UpstreamName, Upstream] = Field(default_factory=dict)
    subscription: Mapping[Name, Subscription] = Field(default_factory=dict)
    limits: Limits = Limits()
    serve: Serve = Serve()
    service: Service = Service()
