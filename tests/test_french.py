"""`status` and `plan` in French: real output has no English in it in any situation, but for quotes, and scripts see no French."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mirror.amounts import FRENCH as NOTATION
from mirror.cli.progress import message
from mirror.cli.standing import print_live, print_standings, print_upstreams
from mirror.events import ListingFailed, ListingRefused, ListingStarted, Note, Retrying, Walled
from mirror.language import Language, french
from mirror.phrases import Spoken, phrase
from mirror.sync import PlannedAction, plan
from packing.messages import catalogue_of

from .command import Outcome, environment, run, start, write_config
from .mirrored import EVERYTHING, Mirrored
from .parked import BAD
from .test_tables import on_terminal
from .upstream import FakeUpstream, faults, simple_catalogue, withdraw

FR = {"LANG": "fr_FR.UTF-8"}
ALL = 'tout]\nresources = ["*"]\nedition = "all"'
CATALOGUE = simple_catalogue(2, 3, 2)
SUB = CATALOGUE.resources[0].listed[0].id

_WORD = re.compile(r"[a-zà-ÿœ]+", re.IGNORECASE)


def words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text) if len(word) > 1}


def english_words() -> set[str]:
    """The words of the messages that no translation has: keys, names and units are in both."""
    english: set[str] = set()
    of_french: set[str] = set()
    for found in catalogue_of("fr"):
        for texts, target in ((found.id, english), (found.string, of_french)):
            for text in texts if isinstance(texts, list | tuple) else [texts]:
                target |= words(re.sub(r"\{[^}]*\}", " ", str(text)))
    return english - of_french


UNITS = {"ko", "mo", "go", "to"}
ENGLISH_WORDS = (english_words() - UNITS) | {
    "of",
    "the",
    "and",
    "at",
    "is",
    "was",
    "for",
    "with",
    "since",
    "until",
    "error",
    "failed",
}


def quoted(folder: Path) -> list[str]:
    """What the index holds of errors, which is shown as it was written."""
    document = run("status", "--json", cwd=folder).json
    found = [
        entry[key]
        for table, key in (("parked", "reason"), ("unlisted", "reason"), ("hooks", "message"), ("hooks", "hook"))
        for entry in document[table]
    ]
    return sorted({"; ".join(text.split("\n")) for text in found}, key=len, reverse=True)


def in_french(folder: Path, *arguments: str, quotes: tuple[str, ...] | list[str] = ()) -> Outcome:
    """Runs a command in French; nothing that it prints, but for quotes and paths, is English. It ends as the English one does."""
    outcome = run(*arguments, cwd=folder, **FR)
    assert outcome.code == run(*arguments, cwd=folder).code
    text = outcome.out + outcome.err
    for part in (*quotes, str(folder)):
        text = text.replace(part, " ")
    text = re.sub(r"http://\S+|`[^`]*`|\S*_TOUSTHEMES_\S*|BD[A-Z]+/\S*|\bsync\b|\[limits\] \w+", " ", text)
    left = words(text) & ENGLISH_WORDS
    assert not left, f"{sorted(left)} in\n{outcome.out}{outcome.err}"
    return outcome


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(CATALOGUE).in_thread() as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path, upstream: FakeUpstream) -> Path:
    write_config(tmp_path, upstream.url, ALL)
    return tmp_path


def test_english_is_what_is_spoken_without_a_wish_and_under_c(folder: Path) -> None:
    assert run("sync", cwd=folder).code == 0
    for env in ({}, {"LC_ALL": "C"}, {"LANG": "de_DE.UTF-8"}, {**FR, "LANGUAGE": "en"}):
        assert run("status", cwd=folder, **env).out.startswith("subscription  last run"), env
    for wish in (FR, {"LC_MESSAGES": "fr_FR.UTF-8"}, {"LC_ALL": "fr_FR"}, {"LANG": "en_GB.UTF-8", "LANGUAGE": "fr"}):
        assert run("status", cwd=folder, **wish).out.startswith("abonnement  exécution"), wish


def test_without_an_index(folder: Path) -> None:
    status = in_french(folder, "status")
    assert "aucun index à l’emplacement" in status.err
    assert "jamais lancée" in status.out
    assert "0 fichier, 0 o sous" in status.out.replace("\u202f", " ")
    found = in_french(folder, "plan")
    assert f"ajouter  BDALPHA/{SUB}" in found.out
    assert "nouveau\u00a0: absent du miroir" in found.out
    assert "12 à ajouter, 0 à remplacer, 0 à garder\u00a0: 12,0\u202fko à télécharger\u202f;" in found.out
    assert "gpf\u00a0: inventaire complet, pour la première fois" in found.err


def test_a_complete_mirror(folder: Path) -> None:
    assert run("sync", cwd=folder).code == 0
    status = in_french(folder, "status")
    assert re.search(
        r"^tout +complète +\d\d/\d\d/\d{4} \d\d:\d\d UTC +\d\d/\d\d/2026 +12/12 +12,0\u202fko +0 +0$", status.out, re.MULTILINE
    )
    assert re.search(r"^dernière exécution\u00a0: sync, lancée le .* UTC, complète le .* UTC$", status.out, re.MULTILINE)
    assert "vérifié, et conforme à ce que l’amont annonce" in in_french(folder, "plan", "--all").out
    assert "0 à ajouter, 0 à remplacer, 12 à garder" in in_french(folder, "sync", "--dry-run").out
    months = in_french(folder, "status", "--upstream").out
    assert re.match(r"amont +mois +disponible +promis +heures +en panne +requêtes +moyenne +maximum", months)


def test_parked_files(folder: Path, upstream: FakeUpstream) -> None:
    """One that is not to be had, and the one that would be published with it."""
    upstream.script(f"*/download/*/{SUB}/*-1.bin", [faults.status(403)], forever=True)
    assert run("sync", cwd=folder).code == 1
    status = in_french(folder, "status", quotes=quoted(folder))
    assert re.search(
        r"^en attente depuis le .*-1\.bin\u00a0: .*403.* \(1 essai, le dernier le .* à la prochaine synchronisation\)$",
        status.out,
        re.M,
    )
    assert re.search(r"^tout +incomplète +jamais ", status.out, re.MULTILINE)
    in_french(folder, "plan")


def test_what_is_damaged_or_unknown(folder: Path) -> None:
    assert run("sync", cwd=folder).code == 0
    files = sorted((folder / "mirror/data").rglob("*.bin"))
    files[0].write_bytes(b"other")
    files[1].unlink()
    (folder / "mirror/index.sqlite").rename(folder / "aside")
    unknown = in_french(folder, "plan", "--files").out
    assert "dans le dossier mais pas dans l’index\u00a0: sera haché, puis repris" in unknown
    assert "dans le dossier mais pas dans l’index, avec 5\u00a0octets là où l’amont en annonce 1\u202f000" in unknown
    (folder / "aside").rename(folder / "mirror/index.sqlite")
    (folder / "mirror/index.sqlite-wal").unlink(missing_ok=True)
    (folder / "mirror/index.sqlite-shm").unlink(missing_ok=True)
    damaged = in_french(folder, "plan").out
    assert "altéré\u00a0: 5\u00a0octets dans le dossier, 1\u202f000 lors de sa vérification" in damaged
    assert "dans l’index mais disparu du dossier" in damaged


def test_withdrawn_and_refused(folder: Path, upstream: FakeUpstream) -> None:
    """A sub-resource that is withdrawn is no trouble; a listing that has shrunken to nearly nothing is."""
    assert run("sync", cwd=folder).code == 0
    listing_again = {"INSPIRE_MIRROR_UPSTREAM__GPF__FULL_LISTING_EVERY": "1s"}
    upstream.catalogue = withdraw(CATALOGUE, "BDALPHA", SUB)
    assert run("sync", cwd=folder, **listing_again).code == 0
    in_french(folder, "status")
    upstream.catalogue = simple_catalogue(1, 0)
    config = folder / "inspire-mirror.toml"
    config.write_text(config.read_text("utf-8").replace("[upstream.gpf]\n", '[upstream.gpf]\nfull_listing_every = "1s"\n'), "utf-8")
    refused = in_french(folder, "plan")
    assert refused.code == 4
    assert "il n’est pas cru et rien n’a été changé" in refused.err
    assert run("sync", cwd=folder).code == 4
    status = in_french(folder, "status", quotes=quoted(folder))
    assert re.search(r"^tout +refusée ", status.out, re.MULTILINE)
    assert re.search(r"^inventaire manquant\u00a0: ", status.out, re.MULTILINE)


def test_too_little_room_and_remarks(folder: Path, upstream: FakeUpstream) -> None:
    write_config(folder, upstream.url, ALL, 'rien]\nresources = ["NICHTS"]', more='limits.min_free = "1000000 TB"')
    config = folder / "inspire-mirror.toml"
    config.write_text(config.read_text("utf-8").replace('contact = "sig@example.org"\n', ""), "utf-8")
    full = in_french(folder, "plan")
    assert full.code == 4
    assert "pas assez de place sous" in full.err
    assert "attention\u00a0: rien\u00a0: rien de ce que l’amont annonce ne correspond à cet abonnement" in full.err
    assert "attention\u00a0: contact\u00a0: absent" in full.err


def test_an_upstream_that_is_away(folder: Path, upstream: FakeUpstream) -> None:
    assert run("sync", cwd=folder).code == 0
    upstream.script("*", [faults.status(503)], forever=True)
    gone = run("plan", cwd=folder, **FR)
    assert gone.code == 5
    assert "inspire-mirror\u00a0: " in gone.err
    assert "gpf" in gone.err
    assert run("sync", cwd=folder).code == 5
    assert re.search(r"^tout +indisponible ", in_french(folder, "status", quotes=quoted(folder)).out, re.MULTILINE)


def test_commands_that_fail(folder: Path, upstream: FakeUpstream) -> None:
    write_config(folder, upstream.url, f'{ALL}\non_complete = ["sh", "-c", "echo kaputt >&2; exit 3"]')
    assert run("sync", cwd=folder).code == 1
    status = in_french(folder, "status", quotes=quoted(folder))
    line = r"^en échec depuis le .* UTC\u00a0: on_complete de tout\u00a0: .*kaputt \(1 essai, le .*; prochain essai\u00a0: .*\)$"
    assert re.search(line, status.out, re.MULTILINE)


def test_a_run_under_way(folder: Path, upstream: FakeUpstream) -> None:
    release = threading.Event()
    upstream.script("*/download/*", [faults.hold(release)])
    with start("sync", cwd=folder) as sync:
        assert sync.stderr is not None
        while not upstream.count("*/download/*"):
            assert sync.poll() is None
        assert re.search(
            r"^dernière exécution\u00a0: sync, lancée le .* UTC, en cours$", in_french(folder, "status").out, re.MULTILINE
        )
        release.set()
        sync.communicate(timeout=60)


# -- what scripts read


def test_scripts_read_the_same_in_every_language(folder: Path, upstream: FakeUpstream) -> None:
    """JSON, the log of the journal and in JSON, and the commands that speak English only: byte for byte, moments aside."""
    upstream.script(f"*/download/*/{SUB}/*-1.bin", [faults.status(403)], forever=True)

    def told(*arguments: str, **env: str) -> str:
        outcome = run(*arguments, cwd=folder, **env)
        return re.sub(
            r'"seconds": [\d.]+|"time": "[^"]+"|seconds=[\d.]+|\b0\.\d+ s', "", f"{outcome.code}{outcome.out}{outcome.err}"
        )

    assert run("plan", "--json", cwd=folder, **FR).json["actions"] == run("plan", "--json", cwd=folder).json["actions"]
    assert json.loads(run("plan", "--json", cwd=folder, **FR).out)["actions"][0]["reason"] == "new: not in the mirror"
    for style in ("journal", "json"):
        assert "attention" not in told("--log", style, "plan", **FR)
        assert told("--log", style, "plan", "--json") == told("--log", style, "plan", "--json", **FR)
    assert run("sync", cwd=folder, **FR).code == 1
    assert "à" not in run("sync", cwd=folder, **FR).err
    for arguments in (
        ["status", "--json"],
        ["status", "--upstream", "--json"],
        ["query"],
        ["verify"],
        ["catalog"],
        ["config", "check"],
    ):
        assert told(*arguments) == told(*arguments, **FR)
    missing = ["plan", "unbekannt"]
    assert told(*missing) == told(*missing, **FR)


# -- how it looks


@pytest.mark.parametrize("language", [{}, FR])
def test_tables_keep_to_80_columns(language: dict[str, str], folder: Path, upstream: FakeUpstream) -> None:
    def widest(*arguments: str) -> int:
        lines = on_terminal(80, "-q", *arguments, cwd=folder, **language)
        head = next(n for n, line in enumerate(lines) if re.match(r"action|subscription|abonnement|upstream|amont", line))
        rest = [line for line in lines[head:] if not re.match(r"\d|parked|en attente|last|dernière|inspire", line)]
        assert len(rest) > 1
        return max(map(len, rest))

    assert widest("plan") <= 80
    upstream.script(f"*/download/*/{SUB}/*-1.bin", [faults.status(403)], forever=True)
    assert run("sync", cwd=folder).code == 1
    for command in (["plan", "--all"], ["plan", "--files"], ["status"], ["status", "--upstream"]):
        assert widest(*command) <= 80, command


def test_an_encoding_without_narrow_spaces_gets_wide_ones(folder: Path) -> None:
    """A straight apostrophe for a curved one, and a question mark for what else it has not; no command ends by that."""
    shown = "from mirror.cli.render import show; show('l\\u2019an 2,1\\u202fko \\u2026 \\xe0')"
    env = environment(PYTHONIOENCODING="latin-1")
    done = subprocess.run([sys.executable, "-c", shown], cwd=folder, env=env, capture_output=True, check=True)
    assert done.stdout.decode("latin-1") == "l'an 2,1\u00a0ko ? à\n"


# -- nothing that was forgotten


class Marked(Language):
    """A language of which every message stands in brackets, so that what no message was made of shows."""

    def word(self, msgid: str) -> str:
        return f"⟦{msgid}⟧"

    def words(self, one: str, many: str, count: int) -> str:
        return f"⟦{many}⟧"


MARKED = Marked("xx", NOTATION)


def unmarked(text: str) -> str:
    """What is left of a text without messages; what stands within them are their arguments, marked as well or data."""
    while (less := re.sub(r"⟦[^⟦⟧]*⟧", "", text)) != text:
        text = less
    return text


HOOK = {
    "since": "2026-10-01T00:00:00Z",
    "hook": "on_publish",
    "subscription": "topo",
    "resource": "R",
    "sub_resource": "S",
    "state": "failing",
    "message": "exit code 3",
    "attempts": 2,
    "last_try": "2026-10-01T00:00:00Z",
    "next_try": None,
}
STANDING: Mapping[str, Any] = {
    "subscription": "topo",
    "outcome": None,
    "last_success": None,
    "upstream_date": "2026-10-01",
    "files": 1000,
    "expected": 2000,
    "bytes": 10**6,
    "failures": 0,
    "parked": 0,
    "next_run": "2026-10-01T00:00:00Z",
}


def test_everything_that_status_says_is_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [None, "complete", "incomplete", "refused", "unavailable", "interrupted", "running", "killed", "failed"]
    run_live = {
        "subscriptions": ["topo"],
        "origin": "schedule",
        "seconds": 10.0,
        "stage": "fetching",
        "files_planned": 3,
        "files_done": 1,
        "files_failed": 1,
        "bytes_done": 10,
        "bytes_planned": 20,
        "bytes_per_second": 1e6,
        "eta": 10.0,
    }
    transfer = {"file": "a.7z", "size": 10, "done": 5, "bytes_per_second": 10.0, "eta": 3.0}
    parked = {"since": HOOK["since"], "resource": "R", "sub_resource": "S", "file": "F", "reason": "HTTP 403", "attempts": 1}
    document = {
        "root": "/m",
        "files": 1,
        "bytes": 1,
        "subscriptions": [{**STANDING, "outcome": outcome} for outcome in outcomes],
        "parked": [{**parked, "last_try": when, "next_try": None} for when in (None, HOOK["since"])],
        "not_unpacked": [{"resource": "R", "sub_resource": "S", "reason": "broken"}],
        "hooks": [HOOK, {**HOOK, "next_try": HOOK["since"], "sub_resource": ""}],
        "unlisted": [{"what": "R", "upstream": "gpf", "reason": "HTTP 500"}],
        "last_run": {"command": "sync", "started_at": HOOK["since"], "finished_at": HOOK["since"], "outcome": "complete"},
    }
    print_standings(document, MARKED)
    for origin in ("schedule", "command", ""):
        for stage in ("starting", "listing", "planning", "fetching", "unpacking"):
            live = {"walls": [{"upstream": "gpf", "seconds": 3}], "run": {**run_live, "origin": origin, "stage": stage}}
            print_live({**live, "transfers": [transfer], "waiting": 2}, MARKED)
    print_live({"walls": [], "run": None, "transfers": [], "waiting": 0}, MARKED)
    month = {"month": "2026-10", "hours": 1, "hours_down": 0, "requests": 2, "mean_seconds": 0.1, "slowest_seconds": 2.0}
    months = [{**month, "availability": share} for share in (0.5, 1.0, None)]
    print_upstreams({"upstreams": [{"upstream": "gpf", "promised": 0.9, "months": months}]}, MARKED)
    print_upstreams({"upstreams": [{"upstream": "gpf", "promised": None, "months": []}]}, MARKED)
    left = words(unmarked(capsys.readouterr().out))
    assert left <= {"topo", "utc", "ko", "mo", "gpf", "min", "ms", "a", "z"}, left


async def test_everything_that_a_plan_says_is_a_message(tmp_path: Path) -> None:
    """Of files in all conditions: the reasons, the remarks, and why it is no complete one."""
    async with FakeUpstream(BAD) as upstream:
        mirror = Mirrored(tmp_path / "root", upstream, all=EVERYTHING, none={"resources": ["NICHTS"]})
        for _ in range(2):
            await mirror.sync()
        actions: list[PlannedAction] = []
        report = await plan(mirror.settings, visit=actions.append, keeps=True, now=mirror.clock, patience=mirror.patience)
    assert {action.action for action in actions} >= {"keep", "park"}
    for said in (*(action.reason for action in actions), *report.remarks, report.reason):
        assert isinstance(said, Spoken), said
    assert "en attente jusqu’au 01/01/2027 12:15 UTC après 2 exécutions\u00a0: " in " ".join(
        french().put(a.reason) for a in actions
    )


def test_what_a_plan_tells_while_it_lists_is_a_message() -> None:
    told = [
        ListingStarted("gpf", "first"),
        Walled("gpf", 429, 5, 1),
        ListingFailed("gpf", "R", "http://u", "HTTP 500", 3),
        ListingRefused("gpf", "R", "http://u", phrase("upstream {upstream}: {reason}", upstream="gpf", reason="x")),
        Note(phrase("never run"), "warning"),
    ]
    for event in told:
        assert unmarked(message(event, 0, MARKED) or "?") == "", event


def test_a_page_that_fails_again_and_again_is_told_of_once() -> None:
    """It may be tried for a minute, in which nothing else is said; files have their progress, and lines of their own."""
    tried = [Retrying("gpf", "https://upstream.example/capabilities", "cannot connect", attempt, 1.0) for attempt in range(1, 10)]
    assert [line for event in tried if (line := message(event, 0))] == [
        "gpf does not answer as it should: cannot connect; still trying"
    ]
    assert unmarked(message(tried[2], 0, MARKED) or "?") == ""
    assert message(Retrying("gpf", "gpf/BDALPHA/SUB/file.7z", "cut", 3, 1.0), 0) is None
