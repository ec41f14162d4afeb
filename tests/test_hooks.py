"""Commands of subscriptions: for which publications and runs they are run, what they are told, and in which order."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.archives import seven_zip, volumes
from mirror.demo.catalogue import Catalogue, SampleFile, SampleResource, SampleSub
from mirror.verifying import verify

from .hooking import Hooked, about, recorder, told
from .mirrored import EVERYTHING, edition, rewritten
from .upstream import FakeUpstream, faults, publish, simple_catalogue

FIRST = simple_catalogue(1, 1, 2)
OLD = FIRST.resources[0].subs[0]
NEW = edition(OLD, "2026-09-15", "2026-10-02")
AGAIN = rewritten(OLD, "again", updated="2026-10-02")


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(FIRST) as fake:
        yield fake


@pytest.fixture
def mirror(tmp_path: Path, upstream: FakeUpstream) -> Hooked:
    return Hooked(tmp_path / "root", upstream)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def hooked(log: Path, *hooks: str, **more: Any) -> dict[str, Any]:
    return {**EVERYTHING, **{hook: recorder(log) for hook in hooks}, **more}


# Publications


async def test_a_publication_is_told_once(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_publish")}
    assert (await mirror.sync_and_run()).exit_code == 0
    assert about(log) == [OLD.id]
    assert (await mirror.sync_and_run()).exit_code == 0
    assert (await mirror.run_due()).ran == 0
    assert len(told(log)) == 1


async def test_what_was_replaced_in_place_is_told_again_with_what_is_new(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_publish")}
    await mirror.sync_and_run()
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", replace(OLD, files=(AGAIN.files[0], OLD.files[1]), updated="2026-10-02"))
    await mirror.sync_and_run()
    first, second = told(log)
    assert first["published"] == [file.name for file in OLD.files]
    assert second["published"] == [OLD.files[0].name]
    assert [file["md5"] for file in second["files"]] == [AGAIN.files[0].body.md5(), OLD.files[1].body.md5()]


async def test_a_new_edition_knows_the_one_before_it(mirror: Hooked, log: Path) -> None:
    """An older one that comes later knows that it is not the newest, and `current` leads to the newest for both."""
    mirror.tables = {"all": hooked(log, "on_publish")}
    await mirror.sync_and_run()
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", NEW)
    await mirror.sync_and_run()
    older = edition(OLD, "2026-01-15", "2026-11-02")
    mirror.upstream.catalogue = publish(mirror.upstream.catalogue, "BDALPHA", older)
    await mirror.sync_and_run()
    first, second, third = told(log)
    folder = mirror.root / "data" / "gpf" / "BDALPHA"
    assert first["previous"] is None
    assert second["previous"] == {"sub_resource": OLD.id, "edition": "2026-03-15", "path": str(folder / OLD.id)}
    assert (second["edition"], second["path"], second["latest"]) == ("2026-09-15", str(folder / NEW.id), True)
    assert (third["edition"], third["previous"], third["latest"]) == ("2026-01-15", None, False)
    for document in (first, second, third):
        assert os.readlink(document["current"]).endswith(f"/{NEW.id}")


async def test_placeholders_and_variables_stand_for_the_facts(mirror: Hooked, tmp_path: Path) -> None:
    """Each in one argument, whatever is in it; and braces for themselves."""
    script = tmp_path / "with blank"
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "$MIRROR_HOOK $MIRROR_HOOK_SUB_RESOURCE $MIRROR_HOOK_ATTEMPT" "$PWD"\n')
    script.chmod(0o755)
    placeholders = ("upstream", "resource", "sub_resource", "edition", "previous_edition", "series", "subscription", "path", "root")
    command = [str(script), *(f"{name}={{{name}}}" for name in placeholders), "{{{{}}"]
    mirror.tables = {"all": {**EVERYTHING, "on_publish": command}}
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", NEW)
    await mirror.sync_and_run()
    series = "BDALPHA_TOUSTHEMES_GPKG_EPSG-2154_D038"
    values = ["gpf", "BDALPHA", NEW.id, "2026-09-15", "2026-03-15", series, "all", f"{mirror.root}/data/gpf/BDALPHA/{NEW.id}"]
    expected = [f"{name}={value}" for name, value in zip(placeholders, [*values, mirror.root], strict=True)]
    assert mirror.outputs()[1].splitlines() == [*expected, "{{}", f"on_publish {NEW.id} 1", str(mirror.root)]


async def test_what_was_adopted_is_no_publication(mirror: Hooked, log: Path) -> None:
    """An index that is built anew from files that were here before."""
    await mirror.sync()
    for path in mirror.root.glob("index.sqlite*"):
        path.unlink()
    mirror.tables = {"all": hooked(log, "on_publish")}
    assert (await mirror.sync_and_run()).done["add"] == 2
    assert told(log) == []


async def test_a_repaired_file_is_no_publication(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_publish")}
    await mirror.sync_and_run()
    path = next(mirror.root.glob("data/gpf/*/*/*-1.bin"))
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    findings = await verify(mirror.settings, full=True, repair=True, now=mirror.clock, patience=mirror.patience)
    assert [fault.repaired for fault in findings.all_faults] == [True]
    assert (await mirror.run_due()).ran == 0
    assert len(told(log)) == 1


async def test_what_is_not_whole_waits(mirror: Hooked, log: Path) -> None:
    """The old state is here and whole when one file of the new one cannot be had; it is not told again."""
    mirror.tables = {"all": hooked(log, "on_publish")}
    await mirror.sync_and_run()
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", AGAIN)
    mirror.upstream.script("*/download/*-2.bin", [faults.status(403)], forever=True)
    assert (await mirror.sync_and_run()).exit_code == 1
    assert len(told(log)) == 1
    mirror.upstream.heal()
    assert (await mirror.sync_and_run(retry=True)).exit_code == 0
    assert told(log)[1]["published"] == [file.name for file in OLD.files]


async def test_each_is_told_once_per_run_also_while_some_are_missing(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_publish", publish="each")}
    mirror.upstream.script("*/download/*-2.bin", [faults.status(403)], forever=True)
    await mirror.sync_and_run()
    mirror.upstream.heal()
    await mirror.sync_and_run(retry=True)
    await mirror.sync_and_run()
    assert [document["published"] for document in told(log)] == [[OLD.files[0].name], [OLD.files[1].name]]


async def test_what_is_wanted_unpacked_is_told_when_it_is(mirror: Hooked, log: Path) -> None:
    """With what is inside: of an archive in volumes, at the first of them."""
    parts = volumes("A.7z", seven_zip({"A/batiment.gpkg": b"g" * 5000, "A/lisezmoi.txt": b"one"}, "2026-09-15"), 2)
    files = tuple(SampleFile(name, data) for name, data in parts.items())
    sub = SampleSub("A_2026-09-15", updated="2026-10-02", edition_date="2026-09-15", files=(*files, SampleFile("A.md5", b"m")))
    mirror.upstream.catalogue = Catalogue((SampleResource("PRODUCT", (sub,)),))
    command = recorder(log, 'find "$1" -type f | sort', "{extracted}")
    mirror.tables = {"all": {**EVERYTHING, "extract": True, "on_publish": command}}
    await mirror.sync_and_run()
    (document,) = told(log)
    assert document["extracted"] == f"{mirror.root}/extracted/gpf/PRODUCT/A_2026-09-15"
    assert mirror.outputs() == [f"{document['extracted']}/A/batiment.gpkg\n{document['extracted']}/A/lisezmoi.txt"]
    assert [(file["file"], file["archive"], len(file["members"])) for file in document["files"]] == [
        ("A.7z.001", "A.7z", 2),
        ("A.7z.002", "A.7z", 0),
        ("A.md5", None, 0),
    ]
    assert document["files"][0]["members"][0] == {
        "member": "A/batiment.gpkg",
        "size": 5000,
        "type": "application/geopackage+sqlite3",
    }


async def test_what_cannot_be_unpacked_is_not_told(mirror: Hooked, log: Path) -> None:
    sub = SampleSub("A_2026-09-15", updated="2026-10-02", files=(SampleFile("A.7z", b"7z\xbc\xaf\x27\x1c no archive"),))
    mirror.upstream.catalogue = Catalogue((SampleResource("PRODUCT", (sub,)),))
    mirror.tables = {"all": hooked(log, "on_publish", extract=True)}
    assert (await mirror.sync_and_run()).exit_code == 1
    assert told(log) == []
    assert mirror.jobs() == [("all", "on_publish", "A_2026-09-15", None)]


# Several subscriptions


async def test_each_subscription_that_wants_it_is_told(mirror: Hooked, tmp_path: Path) -> None:
    """Also by a sync of its own, of what came before for another one; but what came before it had a command is not new to it."""
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    mirror.tables = {"one": hooked(one, "on_publish"), "two": hooked(two, "on_publish"), "three": EVERYTHING}
    await mirror.sync_and_run("three")
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", NEW)
    await mirror.sync_and_run("one")
    assert (sorted(about(one)), about(two)) == ([OLD.id, NEW.id], [])
    await mirror.sync_and_run("two")
    assert sorted(about(two)) == [OLD.id, NEW.id]
    await mirror.sync_and_run("three")
    mirror.tables = {"three": hooked(three, "on_publish")}
    await mirror.sync_and_run()
    assert told(three) == []


async def test_only_the_last_of_several_publications_matters(mirror: Hooked, log: Path) -> None:
    """What waits is told once, as it is then, with all that is new since it was told last."""
    mirror.tables = {"all": hooked(log, "on_publish")}
    await mirror.sync()
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", replace(OLD, files=(AGAIN.files[0], OLD.files[1]), updated="2026-10-02"))
    await mirror.sync()
    await mirror.run_due()
    (document,) = told(log)
    assert document["published"] == [file.name for file in OLD.files]
    assert document["files"][0]["md5"] == AGAIN.files[0].body.md5()


async def test_a_command_that_was_taken_out_of_the_config_is_not_run(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_publish")}
    await mirror.sync()
    mirror.tables = {"all": EVERYTHING}
    assert (await mirror.run_due()).ran == 0
    mirror.tables = {"all": hooked(log, "on_publish")}
    assert (await mirror.run_due()).ran == 0
    assert mirror.jobs() == []


async def test_a_failure_ends_with_its_command_or_its_subscription(mirror: Hooked) -> None:
    mirror.tables = {name: {**EVERYTHING, "on_publish": ["false"]} for name in ("one", "two")}
    assert (await mirror.sync_and_run()).exit_code == 1
    assert len(mirror.jobs()) == 2
    mirror.tables = {"one": EVERYTHING}
    assert (await mirror.sync_and_run()).exit_code == 0
    assert mirror.jobs() == []


# Runs


async def test_complete_and_failure_are_told_after_what_was_published(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_publish", "on_failure", "on_complete")}
    mirror.upstream.script("*/download/*-2.bin", [faults.status(403)], forever=True)
    await mirror.sync_and_run()
    assert about(log) == ["incomplete"]
    (failure,) = told(log)
    assert (failure["hook"], failure["exit_code"], failure["changed"], failure["published"]) == ("on_failure", 1, False, [])
    assert failure["account"] == {"expected": 2, "present": 0, "verified": 0}
    assert "1 of 2 wanted files" in failure["reason"] or "2 of 2 wanted files" in failure["reason"]
    (failed,) = failure["failed"]
    assert (failed["resource"], failed["sub_resource"], failed["file"]) == ("BDALPHA", OLD.id, OLD.files[1].name)
    assert "403" in failed["reason"]
    mirror.upstream.heal()
    await mirror.sync_and_run(retry=True)
    await mirror.sync_and_run()
    assert about(log)[1:] == [OLD.id, "complete", "complete"]
    first, second = told(log)[2:]
    path = f"{mirror.root}/data/gpf/BDALPHA/{OLD.id}"
    assert first["published"] == [{"resource": "BDALPHA", "sub_resource": OLD.id, "files": 2, "path": path}]
    assert (first["changed"], second["changed"], second["published"]) == (True, False, [])


async def test_an_upstream_that_cannot_be_had_is_a_failure(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_failure", "on_complete")}
    mirror.upstream.script("*", [faults.status(503)], forever=True)
    assert (await mirror.sync_and_run()).exit_code == 5
    (document,) = told(log)
    assert (document["outcome"], document["exit_code"]) == ("unavailable", 5)
    assert document["reason"]


async def test_of_several_subscriptions_only_the_one_that_falls_short_fails(mirror: Hooked, tmp_path: Path) -> None:
    mirror.upstream.catalogue = simple_catalogue(2, 1, 1)
    mirror.upstream.script("*/download/BDALPHA/*", [faults.status(403)], forever=True)
    logs = {name: tmp_path / name for name in ("alpha", "bravo")}
    mirror.tables = {
        name: {"resources": [f"BD{name.upper()}"], "on_failure": recorder(log), "on_complete": recorder(log)}
        for name, log in logs.items()
    }
    await mirror.sync_and_run()
    assert {name: about(log) for name, log in logs.items()} == {"alpha": ["incomplete"], "bravo": ["complete"]}


async def test_what_nobody_was_told_of_is_told_with_the_next_run(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_complete")}
    await mirror.sync()
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", NEW)
    await mirror.sync_and_run()
    (document,) = told(log)
    assert [one["sub_resource"] for one in document["published"]] == [OLD.id, NEW.id]


async def test_a_plan_runs_nothing(mirror: Hooked, log: Path) -> None:
    mirror.tables = {"all": hooked(log, "on_publish", "on_failure", "on_complete")}
    await mirror.plan()
    assert not mirror.root.exists()
    await mirror.sync_and_run()
    count = len(told(log))
    mirror.upstream.catalogue = publish(FIRST, "BDALPHA", NEW)
    await mirror.plan()
    assert (await mirror.run_due()).ran == 0
    assert len(told(log)) == count
