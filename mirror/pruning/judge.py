"""The facts that retention decides on, brought to it: from the config, the index and the folders."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mirror.model import SubResource
from mirror.planning.retention import (
    Decision,
    Rule,
    Stored,
    Verdict,
    decide,
    excesses,
    hindered,
    refused,
    resource_gap,
    upstream_gap,
)
from mirror.pruning.report import PruneRefusal
from mirror.settings import Settings, Upstream
from mirror.store.catalogue import Catalogue
from mirror.store.departures import Departures, StoredFacts
from mirror.store.journal import Journal
from mirror.store.refused import RefusedEntries
from mirror.store.trash import Trash
from mirror.store.tree import Folder, Tree
from mirror.sync import Clock, wishes_of


class Judge:
    """Decides on every upstream of the config. Reads only; the states in the index must be of now."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        tree: Tree,
        catalogue: Catalogue,
        departures: Departures,
        journal: Journal,
        refused_entries: RefusedEntries,
        rebuilding: Collection[str],
        now: Clock,
    ) -> None:
        """`rebuilding` are the upstreams of which the index does not know yet all that is here."""
        self.refused: list[PruneRefusal] = []
        """What guards have refused."""

        self.foreign: dict[int, tuple[str, ...]] = {}
        """The paths that are not ours in the folder of each sub-resource that may go, by its row id."""

        self._settings = settings
        self._names = names
        self._tree = tree
        self._trash = Trash(tree)
        self._catalogue = catalogue
        self._departures = departures
        self._journal = journal
        self._refused_entries = refused_entries
        self._rebuilding = rebuilding
        self._now = now
        wishes = wishes_of(settings, ())
        self.upstreams = tuple(dict.fromkeys(wish.upstream for wish in wishes))
        self._rules = {
            upstream: [Rule(wish, settings.subscription[wish.name].keep) for wish in wishes if wish.upstream == upstream]
            for upstream in self.upstreams
        }

    async def decide(self) -> dict[str, Decision]:
        """The decision on each upstream, once every guard has had its say."""
        decisions = {upstream: await self._judge(upstream) for upstream in self.upstreams}
        too_much = [
            PruneRefusal(upstream, None, name, reason)
            for upstream, decision in decisions.items()
            for name, reason in excesses(decision, self._settings.limits.max_delete_ratio)
        ]
        if too_much:
            self.refused += [replace(refusal, reason=f"{refusal.reason}; nothing was deleted") for refusal in too_much]
            which = ", ".join(refusal.subscription or "" for refusal in too_much)
            decisions = {name: refused(decision, f"too much of {which} would go at once") for name, decision in decisions.items()}
        return decisions

    async def _judge(self, upstream: str) -> Decision:
        rules = self._rules[upstream]
        if all(rule.keep is None for rule in rules):
            return Decision()
        listed: dict[str, list[SubResource]] = {}
        for unit in self._catalogue.units(upstream, footprints=any(rule.wish.bbox is not None for rule in rules)):
            listed.setdefault(unit.sub.resource, []).append(unit.sub)
        ground = _Ground(
            upstream,
            self._settings.upstream[upstream],
            rules,
            self._catalogue,
            self._journal,
            self._now(),
            nameless=self._refused_entries.nameless(upstream),
            rebuilding=upstream in self._rebuilding,
        )
        decision = await asyncio.to_thread(
            decide,
            rules,
            await self._stored(upstream),
            listed,
            now=self._now(),
            grace=self._settings.limits.grace,
            gap=ground.gap,
            names=self._names,
        )
        obstacles = {}
        for verdict in decision.verdicts:
            if verdict.delete:
                ours, unpacked = self._departures.files(verdict.stored.id), self._departures.is_unpacked(verdict.stored.id)
                place = await asyncio.to_thread(self._trash.look, folder_of(upstream, verdict), ours, unpacked=unpacked)
                self.foreign[verdict.stored.id] = place.foreign
                if place.obstacle:
                    obstacles[verdict.stored.id] = place.obstacle
            elif verdict.refused:
                resource = None if ground.general else verdict.stored.sub.resource
                refusal = PruneRefusal(upstream, resource, None, f"{upstream}: {verdict.refused}")
                if refusal not in self.refused:
                    self.refused.append(refusal)
        return hindered(decision, obstacles)

    async def _stored(self, upstream: str) -> list[Stored]:
        """What is published of an upstream, counted as complete only if it still is so on the disk."""
        facts = self._departures.stored(upstream)
        touched = await asyncio.to_thread(_touched, self._tree, [one for one in facts if one.complete])
        sizes = {one.id: self._departures.files(one.id) for one in touched}
        broken = await asyncio.to_thread(_broken, self._tree, touched, sizes)
        units = self._catalogue.reread(one.id for one in facts)
        return [
            Stored(
                one.id,
                units[one.id].sub,
                one.files,
                one.bytes,
                one.complete and one.id not in broken,
                one.latest,
                one.superseded_at,
            )
            for one in facts
        ]


class _Ground:
    """Whether what is known of the listings of an upstream is ground enough for a deletion."""

    def __init__(
        self,
        name: str,
        upstream: Upstream,
        rules: Sequence[Rule],
        catalogue: Catalogue,
        journal: Journal,
        now: datetime,
        *,
        nameless: bool,
        rebuilding: bool,
    ) -> None:
        self._every = upstream.full_listing_every
        self._now = now
        self._wishes = [rule.wish for rule in rules]
        self._resources = catalogue.resources(name)
        self._listings = catalogue.listings(name)
        self._nameless = nameless
        full_listed_at, unlisted = catalogue.upstream(name).full_listed_at, journal.why_unlisted(name, at=now)
        self.general = upstream_gap(full_listed_at, unlisted, self._every, now, rebuilding=rebuilding)
        """Why there is none for any resource, if there is none."""

    def gap(self, resource: str) -> str | None:
        """Why there is none for a resource; None where there is."""
        listed = self._resources.get(resource)
        if self.general is not None:
            return self.general
        if listed is None:
            # It is gone, as a full listing has shown; unless it is the one that cannot be read.
            return f"{resource} may be an entry of the upstream that has no usable name" if self._nameless else None
        known = {scope: (facts.fingerprint, facts.listed_at) for scope, facts in self._listings.get(resource, {}).items()}
        return resource_gap(self._wishes, listed, known, self._every, self._now)


def folder_of(upstream: str, verdict: Verdict) -> Folder:
    """Where the sub-resource of a verdict is."""
    return Folder(upstream, verdict.stored.sub.resource, verdict.stored.sub.id)


def _touched(tree: Tree, complete: Sequence[StoredFacts]) -> list[StoredFacts]:
    """Those whose folders are not as they were when they were found complete."""
    return [one for one in complete if one.stamp is None or one.stamp != tree.stamp(one.folder)]


def _broken(tree: Tree, stored: Sequence[StoredFacts], sizes: Mapping[int, Mapping[str, int]]) -> set[int]:
    """The ids of those of which a file is not there, or of another size."""
    return {one.id for one in stored if not tree.published(one.folder).items() >= sizes[one.id].items()}
