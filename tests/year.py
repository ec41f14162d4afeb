"""A year of an upstream and of a mirror that is synced every night: what is published, what goes wrong, what it costs.

Nothing is left to chance: all follows from a seed, whatever the order in which requests come.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from aiohttp import web

from mirror.demo.answer import Answer
from mirror.demo.body import Pattern
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.model import Term
from mirror.settings import from_mapping
from mirror.sync import Report, sync
from mirror.upstream.session import Patience

from .forked import Syncs
from .upstream import Exchange, FakeUpstream, Fault, Record, faults, publish, withdraw

PATIENCE = Patience(connect=5, idle=5, min_speed=0, retry_for=0.05, first_wait=0.001, longest_wait=0.002)
PAGE = 50
"""Entries on a page, at most."""

_FULL_EVERY = 7  # days
_ZONES = ("D001", "D038", "D073", "D974", "R84", "FXX")
_LISTING_WEATHER: tuple[tuple[float, Callable[[], Fault]], ...] = (
    (0.002, lambda: faults.cut_after(200)),
    (0.002, lambda: faults.status(503)),
    (0.001, faults.close_before_response),
    (0.001, lambda: faults.status(404)),
    (0.0005, faults.truncated_body),
    (0.0005, faults.html_200),
)
_FILE_WEATHER: tuple[tuple[float, Callable[[], Fault]], ...] = (
    (0.010, lambda: faults.cut_after(150)),
    (0.003, lambda: faults.status(500)),
    (0.003, faults.close_before_response),
    (0.003, faults.wrong_bytes),
    (0.002, lambda: faults.status(503)),
    (0.002, faults.truncated_body),
    (0.001, faults.html_200),
)


@dataclass(frozen=True)
class Product:
    """A resource: its zones, how many days lie between its editions (0: it never has another), and how many upstream keeps."""

    name: str
    zones: tuple[str, ...]
    every: int
    kept: int
    volumes: int


@dataclass
class Cost:
    """Requests by kind, and bytes of files."""

    requests: Counter[str] = field(default_factory=Counter)
    bytes: int = 0


class Service(FakeUpstream):
    """An upstream that counts what it sends."""

    def __init__(self) -> None:
        super().__init__(etags=True)
        self.sent = 0

    def answer(self, request: web.Request) -> Answer:
        answer = super().answer(request)
        if "/download/" in request.path and answer.status in (200, 206):
            self.sent += answer.length
        return answer


class Year:
    """The simulation. `truth` is what a mirror of everything has: the last bytes of every path that was ever offered."""

    def __init__(self, upstream: Service, root: Path, *, resources: int, days: int, seed: int) -> None:
        self.upstream = upstream
        self.root = root
        self.days = days
        self.rng = random.Random(seed)  # noqa: S311 - to be repeated, not secret
        self.seed = seed
        self.day = date(2026, 1, 1)
        self.products = [self._product(number) for number in range(resources)]
        self.truth: dict[str, str] = {}
        self.silent: dict[str, date] = {}
        """Files that were replaced without a word, with the day by which that must be noticed."""
        self.made = 0
        self.least, self.rules, self.cost = Cost(), Cost(), Cost()
        self.outcomes: Counter[str] = Counter()
        self.kills = 0
        self._changed: dict[str, set[str]] = {}
        self._settling: dict[str, set[str]] = {}
        self._fresh: set[str] = set()
        self._asked: Counter[str] = Counter()

    # -- what is published

    def _product(self, number: int) -> Product:
        every = 7 if number % 23 == 3 else 0 if number % 9 == 8 else 91
        zones = _ZONES[: 1 + number * 7 % 5]
        return Product(f"PRODUCT-{number:03d}", zones, every, 2 if every == 7 else 4, 3 if number % 6 == 0 else 0)

    def publish_first(self) -> None:
        """The catalogue before the first day."""
        for product in self.products:
            for back in (2, 1) if product.every else (1,):
                self._publish(product, self.day - timedelta(days=back * (product.every or 400) + 1))

    def publish_today(self) -> None:
        """What appears in the hours after the sync of the day."""
        for number, product in enumerate(self.products):
            if product.every and (self.day.toordinal() + number * 5) % product.every == 0:
                self._publish(product, self.day)
        if self._chance("replaced", 1 / 20):
            self._replace(silent=False)
        if self._chance("silent", 1 / 60):
            self._replace(silent=True)

    def _publish(self, product: Product, day: date) -> None:
        for zone in product.zones:
            name = f"{product.name}_1-0__GPKG_LAMB93_{zone}_{day}"
            ends = [f".bin.{n:03d}" for n in range(1, product.volumes + 1)] or [".bin"]
            files = tuple(self._file(name + end) for end in (*ends, ".md5"))
            self._offer(product.name, SampleSub(name, edition_date=str(day), zones=(Term(zone),), files=files), day)
        found = self.upstream.catalogue.resource(product.name)
        assert found is not None
        editions = sorted({sub.edition_date or "" for sub in found.subs})
        for sub in found.subs:
            if sub.edition_date in editions[: -product.kept]:
                self.upstream.catalogue = withdraw(self.upstream.catalogue, product.name, sub.id)

    def _replace(self, *, silent: bool) -> None:
        """A file of the newest edition of some product is exchanged in place."""
        product = self.rng.choice(self.products)
        found = self.upstream.catalogue.resource(product.name)
        assert found is not None
        sub = max(found.subs, key=lambda sub: (sub.edition_date or "", sub.id))
        changed = replace(sub, files=(self._file(sub.files[0].name), *sub.files[1:]))
        path = f"{product.name}/{sub.id}/{sub.files[0].name}"
        if silent:
            self.silent[path] = self.day + timedelta(days=_FULL_EVERY + 1)
        self._offer(product.name, changed, date.fromisoformat(sub.updated or "") if silent else self.day)

    def _file(self, name: str) -> SampleFile:
        self.made += 1
        return SampleFile(name, Pattern(200 + self.made * 37 % 3000, f"{name} {self.made}"))

    def _offer(self, resource: str, sub: SampleSub, day: date) -> None:
        sub = replace(sub, updated=str(day))
        self.upstream.catalogue = publish(self.upstream.catalogue, resource, sub)
        for file in sub.files:
            path = f"{resource}/{sub.id}/{file.name}"
            if self.truth.get(path) != file.body.md5():
                self._fresh.add(path)
                self.least.bytes += file.body.size
                self.least.requests["download"] += 1
            self.truth[path] = file.body.md5()
        if sub.updated == str(self.day) or not self.cost.requests:
            self._changed.setdefault(resource, set()).add(sub.id)

    # -- what goes wrong

    def _chance(self, what: str, rate: float) -> bool:
        return self._number(what) < rate

    def _number(self, *what: object) -> float:
        text = f"{self.seed} {self.day} {what}"
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32

    async def _weather(self, exchange: Exchange) -> web.StreamResponse:
        return await (self._fault(exchange.record) or faults.fine())(exchange)

    def _fault(self, record: Record) -> Fault | None:
        """What a request meets, if anything: by the day, its address, and how often that was asked for on that day."""
        if self._chance("outage", 1 / 60):
            return faults.status(500)
        if self._chance("ban", 1 / 25) and 20 <= len(self.upstream.requests) <= 22:
            return faults.retry_after(429, 0)
        self._asked[record.path] += 1
        times = self._asked[record.path]
        if record.kind == "download":
            path = "/".join(record.ids)
            if path in self._fresh and times <= 2 and self._number("being published", path) < 0.01:
                return faults.status(404)
            weather = _FILE_WEATHER
        else:
            weather = _LISTING_WEATHER
        number = self._number("weather", record.path, sorted(record.query.items()), times)
        for rate, fault in weather:
            if number < rate:
                return fault()
            number -= rate
        return None

    # -- the mirror

    @property
    def config(self) -> dict[str, Any]:
        """Everything is wanted; what is wanted of every fifth product may appear file by file."""
        each = [product.name for product in self.products[::5]]
        others = [product.name for product in self.products if product.name not in each]
        return {
            "root": str(self.root),
            "limits": {"min_free": 0, "max_shrink_ratio": 1.0},
            "upstream": {
                "gpf": {"url": self.upstream.url, "requests_per_second": 100_000, "full_listing_every": f"{_FULL_EVERY}d"}
            },
            "subscription": {
                "whole": {"resources": [*others, "NEW-*"], "edition": "all"},
                "each": {"resources": each, "edition": "all", "publish": "each"},
            },
        }

    def live(self, syncs: Syncs, look: Callable[[Report], None]) -> None:
        """All days, one after the other; `look` gets the report of each sync that was not killed."""
        self.publish_first()
        for number in range(self.days):
            self.sync(syncs, look, number)
            self.publish_today()
            self.day += timedelta(days=1)
        self.sync(syncs, look, self.days)

    def sync(self, syncs: Syncs, look: Callable[[Report], None], number: int) -> None:
        """The sync of a night."""
        self._count_least(number)
        self.upstream.clear()
        self.upstream.heal()
        self._asked.clear()
        now = datetime(self.day.year, self.day.month, self.day.day, 3, 15, tzinfo=UTC)
        self.upstream.script(lambda _: True, [self._weather], forever=True)
        if self._chance("kill", 1 / 30):
            self.kills += syncs.run(self.config, self.root.parent, self._strike, now=now.isoformat()) == -9
        else:
            settings = from_mapping(self.config, self.root.parent, {})
            report = asyncio.run(sync(settings, now=lambda: now, patience=PATIENCE))
            self.outcomes[report.outcome] += 1
            look(report)
        self.cost.requests.update(record.kind for record in self.upstream.requests)
        self.cost.bytes = self.upstream.sent
        if not self._chance("outage", 1 / 60):
            self._fresh.clear()

    def _strike(self, kill: Callable[[], None]) -> None:
        at = 1 + int(self._number("where") ** 2 * 60)

        async def fault(exchange: Exchange) -> web.StreamResponse:
            answer = exchange.answer()
            await exchange.send_part(answer, answer.length // 2)
            kill()
            return await faults.close_before_response()(exchange)

        self.upstream.heal()
        self.upstream.script(lambda record: len(self.upstream.requests) == at, [fault])
        self.upstream.script(lambda _: True, [self._weather], forever=True)

    # -- what it costs

    def _count_least(self, number: int) -> None:
        """What a client needs that is told the changes by their dates, and what one needs that goes by our rules as well.

        The rules read each dated change once more after its day has settled, and everything every week.
        """
        catalogue = self.upstream.catalogue
        changed = list(_listings(catalogue, self._changed))
        # By the day of publication, which the last sync may have seen the beginning of, so that day is asked for again.
        since = str(self.day - timedelta(days=1))
        dated = sum((resource.stated_updated or "") >= since for resource in catalogue.resources)
        least = Counter({"capabilities": _pages(dated if number else len(catalogue.resources))}) + Counter(dict(_summed(changed)))
        self.least.requests += least
        if number % _FULL_EVERY == 0:
            everything = {resource.id: {sub.id for sub in resource.subs} for resource in catalogue.resources}
            rules = Counter({"capabilities": _pages(len(catalogue.resources))}) + Counter(
                dict(_summed(_listings(catalogue, everything)))
            )
        else:
            both = {
                name: self._changed.get(name, set()) | self._settling.get(name, set()) for name in {*self._changed, *self._settling}
            }
            rules = Counter({"capabilities": least["capabilities"]}) + Counter(dict(_summed(_listings(catalogue, both))))
        self.rules.requests += rules
        self._settling = self._changed if number else {}
        self._changed = {}

    def table(self) -> str:
        """The figures, for people."""
        self.rules.requests["download"], self.rules.bytes = self.least.requests["download"], self.least.bytes
        rows = [f"{'':<14} {'least':>10} {'by our rules':>13} {'made':>10} {'made/least':>11}"]
        for kind in ("capabilities", "resource", "sub-resource", "download"):
            least, rules, made = (cost.requests[kind] for cost in (self.least, self.rules, self.cost))
            rows.append(f"{kind:<14} {least:>10,} {rules:>13,} {made:>10,} {made / max(least, 1):>11.2f}")
        least, rules, made = (cost.requests.total() for cost in (self.least, self.rules, self.cost))
        rows.append(f"{'all requests':<14} {least:>10,} {rules:>13,} {made:>10,} {made / least:>11.2f}")
        least, rules, made = self.least.bytes, self.rules.bytes, self.cost.bytes
        rows.append(f"{'bytes of files':<14} {least:>10,} {rules:>13,} {made:>10,} {made / least:>11.2f}")
        ends = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        return "\n".join([*rows, f"{self.days + 1} syncs: {ends}, {self.kills} killed; {len(self.truth):,} files in the end"])


def _listings(catalogue: Catalogue, subs: dict[str, set[str]]) -> Iterator[tuple[str, int]]:
    """The pages of the listings of these sub-resources, and of the resources that they are of."""
    for name, ids in subs.items():
        if (resource := catalogue.resource(name)) is not None:
            yield "resource", _pages(len(resource.subs))
            for sub in _of(resource, ids):
                yield "sub-resource", _pages(len(sub.files))


def _of(resource: SampleResource, ids: set[str]) -> list[SampleSub]:
    return [sub for sub in resource.subs if sub.id in ids]


def _pages(entries: int) -> int:
    return max(1, -(-entries // PAGE))


def _summed(pairs: Iterator[tuple[str, int]] | list[tuple[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for kind, pages in pairs:
        found[kind] += pages
    return found
