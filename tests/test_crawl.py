"""A listing is complete, or it is an error: pages that lie, move or break are read again, and never pass as a whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.body import Held
from mirror.demo.catalogue import Catalogue, SampleSub
from mirror.errors import ListingError, RequestFailed
from mirror.model import RemoteFile, SubResource
from mirror.planning.changes import Scope
from mirror.serving.geoplateforme.spelling import Document
from mirror.upstream.crawl import Crawler, Listing, in_parallel
from mirror.upstream.geoplateforme import Geoplateforme
from mirror.upstream.session import Patience, Session

from .upstream import FakeUpstream, Fault, faults, on_page, publish, recordings, simple_catalogue, withdraw

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures" / "gpf"
CATALOGUE = simple_catalogue(resources=3, subs=120, files=1)
RESOURCE = CATALOGUE.resources[0].id
SUBS = tuple(sub.id for sub in CATALOGUE.resources[0].listed)
QUICK = Patience(idle=0.5, retry_for=0.05, first_wait=0.001, longest_wait=0.002)


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(CATALOGUE) as fake:
        yield fake


async def crawl(upstream: FakeUpstream, resource: str = RESOURCE, *scopes: Scope) -> Listing[SubResource]:
    """The sub-resources of a resource, as found by one crawler."""
    async with session(upstream) as client:
        listing, _ = await Crawler(client, Geoplateforme(upstream.url)).resource(resource, scopes or (Scope(),))
    return listing


def session(upstream: FakeUpstream) -> Session:
    return Session("gpf", upstream.url, emit=lambda _: None, requests_per_second=10_000, patience=QUICK)


def ids(listing: Listing[SubResource]) -> list[str]:
    return [entry.id for entry in listing.entries]


def asked(upstream: FakeUpstream) -> list[tuple[int, int]]:
    """Page and limit of each request for a page of a resource."""
    return [(record.page, int(record.query["limit"])) for record in upstream.matching("resource")]


def document(change: Callable[[Document], None]) -> Fault:
    """The page as it is, with `change` made to its JSON."""

    async def fault(exchange: Any) -> Any:
        answer = exchange.answer()
        if not answer.length:  # beyond the last page
            return await exchange.send(answer)
        found = json.loads(b"".join(answer.chunks()))
        change(found)
        return await exchange.send(type(answer)(answer.status, Held(json.dumps(found).encode()), answer.headers))

    return fault


def members(**values: object) -> Fault:
    """The page with other members of the feed."""
    return document(lambda found: found.update(values))


# -- complete


async def test_all_pages_in_order_and_none_beyond(upstream: FakeUpstream) -> None:
    """Fifty a page, the most there is; beyond the page count come empty pages without end."""
    assert ids(await crawl(upstream)) == list(SUBS)
    assert asked(upstream) == [(1, 50), (2, 50), (3, 50)]


@pytest.mark.parametrize(("subs", "pages"), [(0, 1), (1, 1), (50, 1), (51, 2), (100, 2), (101, 3)])
async def test_pages_that_are_just_full(subs: int, pages: int) -> None:
    catalogue = simple_catalogue(resources=1, subs=subs, files=1)
    async with FakeUpstream(catalogue) as upstream:
        assert len((await crawl(upstream)).entries) == subs
        assert upstream.count("resource") == pages


async def test_json_and_xml_list_the_same() -> None:
    async with FakeUpstream(CATALOGUE) as in_json, FakeUpstream(CATALOGUE, xml_only_406=True) as in_xml:
        found = []
        for fake in (in_json, in_xml):
            async with session(fake) as client:
                crawler = Crawler(client, Geoplateforme(fake.url))
                capabilities = await crawler.capabilities(Geoplateforme(fake.url).capabilities())
                subs, _ = await crawler.resource(RESOURCE, [Scope()])
                files = await crawler.sub_resource(RESOURCE, SUBS[0])
                found.append(repr((capabilities, subs, files)).replace(fake.base, "BASE"))
    assert found[0] == found[1]
    assert {record.headers["Accept"] for record in in_xml.requests} == {record.headers["Accept"] for record in in_json.requests}
    assert 406 not in {record.status for record in in_xml.requests}


async def test_the_live_recordings() -> None:
    """Links of another host, as recorded, are taken to the endpoint of the config: hosts move, and the config says where to ask."""
    if not FIXTURES.exists():
        pytest.skip("the recordings of the live service are not on this machine")
    async with recordings(FIXTURES, verbatim=True) as upstream, session(upstream) as client:
        dialect = Geoplateforme(upstream.url)
        crawler = Crawler(client, dialect)
        files = await crawler.sub_resource("limites_administratives", "departements")
        assert len(files.entries) == 10
        assert {file.url.rpartition("/")[0] for file in files.entries} == {
            f"{upstream.base}/download/limites_administratives/departements"
        }


async def test_capabilities_since_a_day(upstream: FakeUpstream) -> None:
    async with session(upstream) as client:
        dialect = Geoplateforme(upstream.url)
        listing = await Crawler(client, dialect).capabilities(dialect.capabilities(date(2099, 1, 1)))
    assert listing.entries == ()
    assert [record.query["updatedFrom"] for record in upstream.requests] == ["2099-01-01"]


# -- pages that lie


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (members(page=1), "page 2 was asked for, page 1 came"),
        (members(totalentries=121), "the totals changed between page 1 .120 entries on 3 pages. and page 2 .121 on 3."),
        (members(pagecount=4), "the totals changed"),
        (members(entry=[]), "page 2 of 3 is empty"),
        (document(lambda found: found["entry"].pop()), "entries came, 120 were announced"),
        (faults.html_200(), "expected"),
        (faults.truncated_body(), "expected|JSON"),
        (faults.status(200, {"Content-Type": "application/json"}, b""), "empty body"),
        (faults.status(200, {}, b"[1, 2]"), "expected"),
    ],
)
async def test_a_page_that_lies_is_read_again_with_all_others(upstream: FakeUpstream, fault: Fault, words: str) -> None:
    """Once: it is right in the end. For ever: an error that says why, and nothing of the listing."""
    upstream.script(on_page("resource", 2), [fault])
    assert ids(await crawl(upstream)) == list(SUBS)
    assert {limit for _, limit in asked(upstream)} == {50, 47}
    upstream.script(on_page("resource", 2), [fault], forever=True)
    with pytest.raises(ListingError, match=rf"resource/{RESOURCE}: read 3 times and never complete: .*({words})") as caught:
        await crawl(upstream)
    assert "\n" not in str(caught.value)
    assert max(page for page, _ in asked(upstream)) <= 3
    assert max(limit for _, limit in asked(upstream)) <= 50


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_truncated_pages(form: str) -> None:
    async with FakeUpstream(CATALOGUE, json=form == "json") as upstream:
        upstream.script(on_page("resource", 3), [faults.truncated_body()])
        assert ids(await crawl(upstream)) == list(SUBS)
        upstream.script(on_page("resource", 1), [faults.truncated_body()], forever=True)
        with pytest.raises(ListingError, match="never complete"):
            await crawl(upstream)


@pytest.mark.parametrize("count", [10, 10**9])
async def test_a_page_count_that_is_too_high_ends_at_the_first_empty_page(upstream: FakeUpstream, count: int) -> None:
    """Wherever the wrong number comes from, it does not keep us asking."""
    upstream.script("resource", [members(pagecount=count)], forever=True)
    with pytest.raises(ListingError, match="empty"):
        await crawl(upstream)
    assert upstream.count("resource") <= 12


async def test_a_page_count_that_is_too_low_is_not_believed(upstream: FakeUpstream) -> None:
    upstream.script("resource", [members(pagecount=2)], forever=True)
    with pytest.raises(ListingError, match=r"\d+ entries came, 120 were announced"):
        await crawl(upstream)


async def test_without_a_page_count_the_total_says_how_many(upstream: FakeUpstream) -> None:
    upstream.script("resource", [document(lambda found: found.pop("pagecount"))], forever=True)
    assert ids(await crawl(upstream)) == list(SUBS)
    assert asked(upstream) == [(1, 50), (2, 50), (3, 50)]


async def test_without_page_count_and_total_nothing_is_shown_to_be_complete(upstream: FakeUpstream) -> None:
    def strip(found: Document) -> None:
        del found["pagecount"], found["totalentries"]

    upstream.script("resource", [document(strip)], forever=True)
    with pytest.raises(ListingError, match="cannot be shown to be complete"):
        await crawl(upstream)


async def test_an_entry_without_a_name_is_told_and_counted(upstream: FakeUpstream) -> None:
    def unname(found: Document) -> None:
        found["entry"][0]["id"] = ""
        found["entry"][0]["link"] = []

    upstream.script(on_page("resource", 1), [document(unname)], forever=True)
    listing = await crawl(upstream)
    assert ids(listing) == list(SUBS[1:])
    assert len(listing.rejected) == 1


# -- entries that are listed twice, pages that move


async def test_an_entry_listed_twice_on_a_page_is_one(upstream: FakeUpstream) -> None:
    """Whether the total counts it or not: real feeds have them."""

    def twice(found: Document) -> None:
        found["entry"].insert(3, found["entry"][2])

    upstream.script(on_page("resource", 1), [document(twice)], forever=True)
    assert ids(await crawl(upstream)) == list(SUBS)
    assert upstream.count("resource") == 3


async def test_an_entry_on_two_pages_is_looked_at_with_other_borders(upstream: FakeUpstream) -> None:
    """Really listed twice, it lies within one page in a further reading."""
    doubled = simple_catalogue(resources=1, subs=60, files=1).resources[0]
    order = [*doubled.subs[:50], doubled.subs[49], *doubled.subs[50:]]
    upstream.script("resource", [_window_of(order)], forever=True)
    assert sorted(ids(await crawl(upstream))) == sorted(sub.id for sub in doubled.subs)
    assert {limit for _, limit in asked(upstream)} == {50, 47}


async def test_an_entry_that_comes_on_two_pages_however_they_are_cut(upstream: FakeUpstream) -> None:
    def again(found: Document) -> None:
        found["entry"][0]["id"] = f"{upstream.base}/resource/{RESOURCE}/{SUBS[0]}"

    upstream.script(on_page("resource", 2), [document(again)], forever=True)
    with pytest.raises(ListingError, match="came on two pages"):
        await crawl(upstream)
    assert {limit for _, limit in asked(upstream)} == {50, 47, 43}


def _window_of(order: list[SampleSub]) -> Fault:
    """Serves the pages of a list that has a sub-resource twice."""

    async def fault(exchange: Any) -> Any:
        answer = exchange.answer()
        found = json.loads(b"".join(answer.chunks()))
        page, limit = exchange.record.page, int(exchange.record.query["limit"])
        shown = order[(page - 1) * limit : page * limit]
        found |= {"totalentries": len(order), "pagecount": -(-len(order) // limit), "pagesize": limit, "page": page}
        found["entry"] = [{"id": f"{exchange.upstream.base}/resource/{RESOURCE}/{sub.id}", "title": sub.id} for sub in shown]
        return await exchange.send(type(answer)(answer.status, Held(json.dumps(found).encode()), answer.headers))

    return fault


@pytest.mark.parametrize("page", [1, 2])
@pytest.mark.parametrize("what", ["added first", "added last", "withdrawn first", "withdrawn last", "withdrawn all"])
async def test_pages_that_move_while_they_are_read(upstream: FakeUpstream, page: int, what: str) -> None:
    """A publication during the crawl: the listing is that of before or of after, never a mixture."""
    ends = {"first": SUBS[0], "last": SUBS[-1]}
    verb, _, where = what.partition(" ")
    if verb == "added":
        after = publish(CATALOGUE, RESOURCE, SampleSub("AAA" if where == "first" else "zzz"))
    elif where == "all":
        after = publish(withdraw(CATALOGUE, RESOURCE), RESOURCE, SampleSub("AAA"))
    else:
        after = withdraw(CATALOGUE, RESOURCE, ends[where])
    upstream.script(on_page("resource", page), [faults.shift(after)])
    found = ids(await crawl(upstream))
    resource = after.resource(RESOURCE)
    assert resource is not None
    assert found == [sub.id for sub in resource.listed]


async def test_pages_that_never_stand_still(upstream: FakeUpstream) -> None:
    def catalogue(number: int) -> Catalogue:
        return publish(upstream.catalogue, RESOURCE, SampleSub(f"AAA{number}"))

    moves = iter(range(100))

    async def move(exchange: Any) -> Any:
        return await faults.shift(catalogue(next(moves)))(exchange)

    upstream.script("resource", [move], forever=True)
    with pytest.raises(ListingError, match="totals changed"):
        await crawl(upstream)
    assert upstream.count("resource") == 6  # two pages for each reading: no page is read in vain


# -- failures


async def test_a_resource_that_is_not_there(upstream: FakeUpstream) -> None:
    with pytest.raises(RequestFailed) as caught:
        await crawl(upstream, "NOWHERE")
    assert caught.value.status == 404
    assert upstream.count() == 1


async def test_a_page_that_is_refused_ends_the_listing(upstream: FakeUpstream) -> None:
    upstream.script(on_page("resource", 3), [faults.status(403)])
    with pytest.raises(RequestFailed, match="403"):
        await crawl(upstream)


# -- scopes


def scopes(*zones: str) -> tuple[Scope, ...]:
    return tuple(Scope(zone=zone) for zone in zones)


async def test_one_scope_is_asked_for_as_it_is(upstream: FakeUpstream) -> None:
    listing = await crawl(upstream, RESOURCE, *scopes("D038"))
    assert len(listing.entries) == 40
    assert [record.query.get("zone") for record in upstream.requests] == ["D038"]


async def test_several_scopes_cost_less_than_the_whole(upstream: FakeUpstream) -> None:
    """One page shows that the whole takes three, so two scopes are listed by themselves."""
    async with session(upstream) as client:
        listing, listed = await Crawler(client, Geoplateforme(upstream.url)).resource(RESOURCE, scopes("D038", "D073"))
    assert len(listing.entries) == 80
    assert listed == scopes("D038", "D073")
    assert [record.query.get("zone") for record in upstream.requests] == [None, "D038", "D073"]


async def test_the_whole_costs_less_than_several_scopes(upstream: FakeUpstream) -> None:
    async with session(upstream) as client:
        wanted = scopes("D038", "D073", "D001")
        listing, listed = await Crawler(client, Geoplateforme(upstream.url)).resource(RESOURCE, wanted)
    assert ids(listing) == list(SUBS)
    assert listed == (Scope(),)
    assert [(record.page, record.query.get("zone")) for record in upstream.requests] == [(1, None), (2, None), (3, None)]


async def test_a_look_at_the_whole_that_fails_is_no_failure(upstream: FakeUpstream) -> None:
    upstream.script("resource", [faults.html_200()])
    assert len((await crawl(upstream, RESOURCE, *scopes("D038", "D073"))).entries) == 80


async def test_scopes_that_overlap_give_an_entry_once(upstream: FakeUpstream) -> None:
    listing = await crawl(upstream, RESOURCE, Scope(zone="D038"), Scope(zone="D038", format="GPKG"))
    assert len(listing.entries) == 40
    assert len(set(ids(listing))) == 40


async def test_a_scope_that_cannot_be_had_leaves_nothing_of_the_others(upstream: FakeUpstream) -> None:
    upstream.script(lambda record: record.query.get("zone") == "D073", [faults.html_200()], forever=True)
    with pytest.raises(ListingError):
        await crawl(upstream, RESOURCE, *scopes("D038", "D073"))


# -- addresses


@pytest.mark.parametrize("url", ["http://h.example/t/capabilities", "http://h.example/t/", "http://h.example/t"])
def test_the_address_may_be_that_of_the_capabilities_or_of_the_folder(url: str) -> None:
    dialect = Geoplateforme(url)
    assert dialect.capabilities().url == "http://h.example/t/capabilities"
    assert dialect.resource("PARCS.JARDINS", Scope()).url == "http://h.example/t/resource/PARCS.JARDINS"
    assert dialect.sub_resource("a/b", "é ?#").url == "http://h.example/t/resource/a%2Fb/%C3%A9%20%3F%23"


@pytest.mark.parametrize(
    ("listed", "at"),
    [
        ("http://h.example/t/download/R/S/a%20b.7z", "http://h.example/t/download/R/S/a%20b.7z"),
        ("https://old.example/x/a%20b.7z?token=1#x", "http://h.example/t/download/R/S/a%20b.7z"),
        ("http://[/a.7z", "http://h.example/t/download/R/S/a.7z"),
        ("a.7z", "http://h.example/t/download/R/S/a.7z"),
    ],
)
def test_files_are_fetched_from_the_endpoint_of_the_config(listed: str, at: str) -> None:
    body = json.dumps({"entry": [{"id": "x", "link": [{"href": listed, "rel": "alternate"}]}]}).encode()
    page = Geoplateforme("http://h.example/t").read_sub_resource(body, "R", "S")
    assert [file.url for file in page.entries if isinstance(file, RemoteFile)] == [at]


# -- jobs in parallel


async def test_the_first_error_of_jobs_in_parallel_comes_out() -> None:
    done: list[int] = []

    def job(number: int) -> Callable[[], Any]:
        async def work() -> None:
            if number == 3:
                raise ListingError("three")
            await asyncio.sleep(0)
            done.append(number)

        return work

    with pytest.raises(ListingError, match="three"):
        await in_parallel([job(number) for number in range(100)], 4)
    assert len(done) < 10
    await in_parallel([job(number) for number in range(4, 30)], 4)
    assert set(range(4, 30)) <= set(done)
