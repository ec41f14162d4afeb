"""When a mirror is well, and which reason says that it is not: rules over facts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.language import french
from mirror.observing.health import CODES, FAILING, Facts, Reason, SubscriptionFacts, UpstreamFacts, judge, stale_at
from mirror.settings.schedule import parse_schedule

PARIS = ZoneInfo("Europe/Paris")
SUCCESS = datetime(2026, 10, 6, 3, 20, tzinfo=UTC)  # a Tuesday
WELL = Facts(SUCCESS, free=10**12, min_free=10**9)


def daily(**changes: object) -> SubscriptionFacts:
    facts = SubscriptionFacts("topo", "gpf", parse_schedule("daily 03:15"), UTC, None, "complete", SUCCESS, SUCCESS, SUCCESS, 0)
    return replace(facts, **changes)  # type: ignore[arg-type]


EVERYTHING = Facts(
    SUCCESS + timedelta(days=9),
    [daily()],
    [UpstreamFacts("gpf", walled=30, silent_hours=2, parked=3000, parked_since=SUCCESS)],
    free=1_500_000_000,
    min_free=2_000_000_000,
    index_problem="damaged",
    refused="the listing has shrunk",
    failing_hooks=["load"],
    stalled=7200,
)
ROOTLESS = replace(WELL, free=None)
UNSYNCED = replace(WELL, no_index=True)


def codes(facts: Facts) -> list[str]:
    return [reason.code for reason in judge(facts).reasons]


def stale(facts: SubscriptionFacts, now: datetime) -> bool:
    return "stale" in codes(replace(WELL, now=now, subscriptions=[facts]))


@pytest.mark.parametrize(
    ("schedule", "success", "limit"),
    [
        ("daily 03:15", "2026-10-06T03:20", "2026-10-09T03:15"),
        ("every 6h", "2026-10-06T03:20", "2026-10-07T12:00"),
        ("hourly", "2026-10-06T03:20", "2026-10-07T05:00"),
        ("15 3 * * 1-5", "2026-10-09T03:20", "2026-10-14T03:15"),  # Friday: the second run after it is that of Tuesday
        ("0 3 1,2 * *", "2026-10-02T03:20", "2026-11-03T03:00"),
        ("0 3 1 1 *", "2026-01-01T03:20", "2028-01-02T03:00"),
    ],
)
def test_by_the_schedule_two_runs_may_be_missed_and_a_day(schedule: str, success: str, limit: str) -> None:
    """Whatever the rhythm: a week-end or most of a month between two runs makes nothing stale."""
    facts = daily(schedule=parse_schedule(schedule), last_success=datetime.fromisoformat(success).replace(tzinfo=UTC))
    end = datetime.fromisoformat(limit).replace(tzinfo=UTC)
    assert stale_at(facts) == end
    assert not stale(facts, end)
    assert stale(facts, end + timedelta(seconds=1))


def test_hours_are_those_of_the_time_zone() -> None:
    assert stale_at(daily(zone=PARIS)) == datetime(2026, 10, 9, 1, 15, tzinfo=UTC)


def test_stale_after_rules_where_it_is_set() -> None:
    assert stale_at(daily(stale_after=timedelta(hours=5))) == SUCCESS + timedelta(hours=5)
    assert stale_at(daily(stale_after=timedelta(days=90), schedule=None)) == SUCCESS + timedelta(days=90)


def test_without_schedule_and_limit_nothing_is_stale() -> None:
    assert stale_at(daily(schedule=None)) is None
    assert not stale(daily(schedule=None), SUCCESS + timedelta(days=9999))


def test_what_was_never_complete_counts_from_its_first_run() -> None:
    facts = daily(last_success=None, outcome="incomplete", shortfall=4)
    assert not stale(facts, SUCCESS + timedelta(days=2))
    assert stale(facts, SUCCESS + timedelta(days=4))
    assert not stale(replace(facts, known_since=None), SUCCESS + timedelta(days=99))


def test_a_publisher_who_is_wrong_for_weeks_does_not_fail_a_mirror_that_is_as_good_as_can_be() -> None:
    """As long as runs come far enough to know that, and nothing else is missing."""
    now = SUCCESS + timedelta(days=60)
    wrong = daily(outcome="incomplete", last_run=now - timedelta(hours=3), shortfall=2, wrong=2)
    assert not stale(wrong, now)
    assert stale(replace(wrong, shortfall=3), now)
    assert stale(replace(wrong, outcome="unavailable"), now)
    assert stale(replace(wrong, unlisted=True), now)
    assert stale(replace(wrong, last_run=now - timedelta(days=9)), now)


def test_each_fact_has_its_reason_and_the_failing_ones_come_first() -> None:
    found = judge(EVERYTHING)
    assert found.status == "failing"
    assert [r.failing for r in found.reasons] == sorted((r.failing for r in found.reasons), reverse=True)
    assert {r.code for r in found.reasons} == set(CODES) - {"no-index", "root"}
    assert codes(ROOTLESS) == ["root"]
    assert codes(UNSYNCED) == ["no-index"]
    assert judge(WELL).as_json() == {"status": "ok", "reasons": []}
    parked = next(r for r in found.reasons if r.code == "parked")
    assert parked.as_json() == {
        "code": "parked",
        "severity": "warning",
        "message": "3,000 files of gpf cannot be had, the oldest for 9 days; `status` says which and why",
        "upstream": "gpf",
    }


ENGLISH_TEXTS = {
    "stale": "topo was last complete 9 days ago, on 2026-10-06 03:20 UTC; its last sync ended complete on 2026-10-06 03:20 UTC",
    "disk-low": "1.5 GB free, less than the 2.0 GB of [limits] min_free: syncs fetch nothing more",
    "index": "damaged",
    "root": "the root of the mirror cannot be read; is its disk mounted?",
    "stalled": "the run under way has shown no progress for 2 hours",
    "parked": "3,000 files of gpf cannot be had, the oldest for 9 days; `status` says which and why",
    "upstream-walled": "gpf has told this address to stop (HTTP 429 or 503); nothing is asked for another 30 seconds",
    "upstream-silent": "gpf has answered nothing in the last 2 hours in which it was asked",
    "refused": "the last sync was refused: the listing has shrunk",
    "no-index": "nothing was synced yet; the first sync makes the index",
    "hooks": "a command fails: load",
}
FRENCH_TEXTS = {
    "stale": "topo a été complet pour la dernière fois il y a 9 jours, le 06/10/2026 03:20 UTC ; "
    "état de sa dernière synchronisation, le 06/10/2026 03:20 UTC : complète",
    "disk-low": "1,5 Go libres, moins que les 2,0 Go de min_free sous [limits] : les synchronisations ne téléchargent plus rien",
    "index": "damaged",
    "root": "la racine du miroir est illisible ; son disque est-il monté ?",
    "stalled": "l’exécution en cours n’a pas progressé depuis 2 heures",
    "parked": "3 000 fichiers que gpf ne fournit pas, depuis 9 jours pour le plus ancien ; `status` dit lesquels et pourquoi",
    "upstream-walled": "gpf a demandé à cette adresse d’arrêter (HTTP 429 ou 503) ; rien ne lui sera demandé avant 30 secondes",
    "upstream-silent": "gpf n’a rien répondu au cours des 2 dernières heures où il a été interrogé",
    "refused": "la dernière synchronisation a été refusée : the listing has shrunk",
    "no-index": "rien n’a encore été synchronisé ; la première synchronisation crée l’index",
    "hooks": "une commande échoue : load",
}


def all_reasons() -> Iterator[Reason]:
    for facts in (EVERYTHING, ROOTLESS, UNSYNCED):
        yield from judge(facts).reasons


def test_machines_read_reasons_in_english_and_people_in_their_language() -> None:
    """Only what comes from elsewhere, the words of the index and why a sync was refused, stays as it is."""
    assert {reason.code: reason.message for reason in all_reasons()} == ENGLISH_TEXTS
    for reason in all_reasons():
        assert json.loads(json.dumps(reason.as_json()))["message"] == ENGLISH_TEXTS[reason.code]
        told = french().put(reason.message)
        assert told.replace("\u202f", " ").replace("\xa0", " ") == FRENCH_TEXTS[reason.code]


@pytest.mark.parametrize(
    ("facts", "english", "told"),
    [
        (
            replace(WELL, upstreams=[UpstreamFacts("gpf", parked=1)]),
            "1 file of gpf cannot be had; `status` says which and why",
            "1 fichier que gpf ne fournit pas ; `status` dit lesquels et pourquoi",
        ),
        (
            replace(WELL, upstreams=[UpstreamFacts("gpf", silent_hours=1)]),
            "gpf has answered nothing in the last hour",
            "gpf n’a rien répondu au cours de la dernière heure",
        ),
        (replace(WELL, stalled=1), "the run under way has shown no progress for 1 second", None),
        (
            replace(
                WELL,
                now=SUCCESS + timedelta(days=9),
                subscriptions=[daily(last_success=None, outcome="damaged", known_since=SUCCESS)],
            ),
            "topo has never been complete, since its first sync on 2026-10-06 03:20 UTC; "
            "its last sync ended damaged on 2026-10-06 03:20 UTC",
            None,
        ),
    ],
)
def test_the_other_forms_of_reasons(facts: Facts, english: str, told: str | None) -> None:
    (reason,) = judge(facts).reasons
    assert reason.message == english
    french_text = french().put(reason.message).replace("\u202f", " ").replace("\xa0", " ")
    assert french_text == told if told else french_text != english


@given(
    st.builds(
        Facts,
        st.just(SUCCESS),
        st.lists(
            st.builds(
                daily,
                last_success=st.none()
                | st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2030, 1, 1)),
            )
        ),
        st.lists(st.builds(UpstreamFacts, st.just("gpf"), st.floats(0, 9), st.integers(0, 9), st.integers(0, 9))),
        st.none() | st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from(["", "damaged"]),
        st.booleans(),
        st.sampled_from(["", "shrunk"]),
    )
)
def test_the_status_is_the_worst_of_the_reasons(facts: Facts) -> None:
    """Every reason is one line, and has a known code."""
    found = judge(facts)
    assert (found.status == "failing") == any(reason.code in FAILING for reason in found.reasons)
    assert (found.status == "ok") == (not found.reasons)
    for reason in found.reasons:
        assert reason.code in CODES
        assert reason.message
        assert "\n" not in reason.message
    assert found.as_text().splitlines()[0] == found.status
