"""A catalogue of the live service's size: what a first listing costs, and what a resync costs in which nothing has changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date

from bench import synthetic
from bench.contest import Contender, contest, peak, seconds, timed
from bench.figures import Figure, at_most
from bench.ground import MIB, Ground
from bench.ours import Ours, said
from bench.published import fill, listed
from bench.upstream import running


def catalogue(ground: Ground) -> Iterator[Figure]:
    """`plan` on an empty root, then `sync` on a mirror that holds everything."""
    sizes, room = ground.sizes, ground.room("catalogue")
    offer = synthetic.catalogue(sizes.resources, sizes.sub_resources, sizes.files_each)
    what = f"{sizes.resources} resources, {sizes.sub_resources:,} sub-resources, {sizes.sub_resources * sizes.files_each:,} files"
    with running(room / "upstream") as upstream:
        upstream.publish(offer, changed_since=synthetic.NEWEST, bodies=False)
        ours = Ours(room / "ours", upstream.url())
        planned = timed(ours.command("plan", "--json"), room / "plan.out")
        report = said(planned)
        if report["planned"]["add"] != sizes.sub_resources * sizes.files_each:
            raise RuntimeError(f"the plan is not complete: {report['planned']} of {what}")
        note = f"{report['requests'] / planned.seconds:,.0f} requests/s"
        yield Figure(f"{what}: first listing and plan", planned.seconds, "s", None, note)
        yield Figure("requests of it", report["requests"])

        fill(ours.root, listed(offer, upstream.bases["http"]), newest=date.fromisoformat(synthetic.NEWEST), folders=True)
        resync = ours.command("sync", "--json")
        timed(resync, room / "first.out")  # makes the aliases, once
        results = contest({"resync": Contender(resync)}, sizes.rounds, room)["resync"]
        report = said(results[-1])
        if report["outcome"] != "complete" or report["account"]["verified"] != sizes.sub_resources * sizes.files_each:
            raise RuntimeError(f"the resync is not what it should be: {report}")
        spread = f"{min(r.seconds for r in results):.2f} to {max(r.seconds for r in results):.2f} s"
        yield Figure("no-change resync of it", seconds(results), "s", at_most(2), spread)
        yield Figure("requests of that", report["requests"], "", at_most(5))
        most = max(peak([planned]), peak(results))
        note = f"plan {planned.peak / MIB:.0f} MiB, resync {peak(results) / MIB:.0f} MiB"
        yield Figure("peak memory, that catalogue", most / MIB, "MiB", at_most(250), note)
    shutil.rmtree(room)
