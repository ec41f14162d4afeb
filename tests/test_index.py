"""The index: it opens whatever an older version left, refuses what it cannot use, and readers never wait for the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from mirror.errors import IndexUnusable
from mirror.geometry import footprint_from_text
from mirror.model import Footprint, RemoteFile, Resource, SubResource, Term
from mirror.planning.changes import EVERYTHING, Scope
from mirror.store.catalogue import Catalogue, Unit, UpstreamFacts, from_text, to_text
from mirror.store.holdings import Holdings, StoredFile, held_files
from mirror.store.index import FILE, Index, connect_reader, find_damage
from mirror.store.schema import migrations
from tests.privileges import ordinary_user

AT = datetime(2026, 3, 10, 12, 0, 0, 5, tzinfo=UTC)
UP = "gpf"
GROUND = Footprint((((5.0, 44.0), (6.0, 44.0), (6.0, 45.0), (5.0, 44.0)),))
RESOURCE = Resource("BDTOPO", "http://u/BDTOPO", title="BD TOPO®", abstract="Bâtiments et routes", updated="2026-03-01")


def sub(name: str, zone: str = "D038", day: str = "2026-01-01", **fields: object) -> SubResource:
    facts = {
        "title": f"Département {zone}",
        "updated": "2026-03-01",
        "edition_date": date.fromisoformat(day),
        "zones": (Term(zone, f"{zone} Isère"),),
        "formats": (Term("Shapefile", "SHP"),),
        "crs": (Term("EPSG:2154", "Lambert-93"),),
        "resolutions": (Term("1m", "1 m"),),
        "footprint": GROUND,
        **fields,
    }
    return SubResource("BDTOPO", name, f"http://u/{name}", **facts)  # type: ignore[arg-type]


FILES = [RemoteFile(f"x.7z.00{n}", f"http://u/{n}", n, str(n) * 32, "application/x", "section", ("image/tiff",)) for n in (1, 2)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path) as opened:
        yield opened


def tables(root: Path) -> set[str]:
    with sqlite3.connect(root / FILE) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    return names


def listed(index: Index, *subs: SubResource) -> dict[str, Unit]:
    """The units of a listing that was just taken in."""
    catalogue = Catalogue(index)
    catalogue.save_resources(UP, [RESOURCE], complete=True)
    catalogue.save_listing(UP, RESOURCE, [EVERYTHING], subs, at=AT)
    return {unit.sub.id: unit for unit in catalogue.units(UP, footprints=True)}


def store(index: Index, unit: Unit, *files: RemoteFile) -> None:
    with index.transaction():
        Holdings(index).record(unit.id, unit.sub.updated, [StoredFile(f, f.size or 0, f.md5 or "", "s") for f in files], at=AT)
        Holdings(index).settle(unit.id, "key", 7, files=len(files), size=sum(f.size or 0 for f in files), at=AT)


def column(index: Index, sql: str, *values: object) -> list[object]:
    return [row[0] for row in index.connection.execute(sql, values)]


# -- opening


@pytest.mark.parametrize("state", ["no file", "empty file", "empty database", "only the table of migrations"])
def test_an_older_state_is_migrated(tmp_path: Path, state: str) -> None:
    path = tmp_path / FILE
    if state == "empty file":
        path.touch()
    elif state != "no file":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        if state != "empty database":
            connection.execute(
                "CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT)"
            )
        connection.close()
    with Index(tmp_path):
        pass
    assert {"resources", "sub_resources", "files", "runs", "events"} <= tables(tmp_path)
    with Index(tmp_path) as again:
        assert not migrations.pending(again.db)


def test_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with Index(tmp_path) as index:
        index.connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('inspire-mirror', 'm999_later', '2030')"
        )
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(IndexUnusable, match="newer version"):
        Index(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all" * 500)
    for attempt in (lambda: Index(tmp_path), lambda: connect_reader(tmp_path)):
        with pytest.raises(IndexUnusable, match=r"index\.sqlite.*not a database") as refused:
            attempt()
        assert len(str(refused.value).splitlines()) == 1


def test_a_reader_without_an_index_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match="inspire-mirror sync"):
        connect_reader(tmp_path)
    assert not (tmp_path / FILE).exists()


def test_readers_are_not_blocked_by_a_writer_and_see_the_last_commit(tmp_path: Path, index: Index) -> None:
    with index.transaction() as sql:
        sql.execute("INSERT INTO upstreams (upstream) VALUES ('committed')")
        reader = connect_reader(tmp_path)
        reader.execute("PRAGMA busy_timeout = 0")
        assert reader.execute("SELECT count(*) FROM upstreams").fetchone()[0] == 0
    assert reader.execute("SELECT upstream FROM upstreams").fetchone()[0] == "committed"
    reader.close()


def test_a_reader_needs_no_permission_to_write(tmp_path: Path) -> None:
    """Analysts query the mirror of a service's user."""
    with Index(tmp_path) as index:
        Catalogue(index).save_upstream(UP, UpstreamFacts())
    tmp_path.chmod(0o555)
    try:
        with ordinary_user(tmp_path):
            reader = connect_reader(tmp_path)
            assert reader.execute("SELECT upstream FROM upstreams").fetchone()[0] == UP
            reader.close()
    finally:
        tmp_path.chmod(0o755)


def test_a_reader_cannot_write(tmp_path: Path, index: Index) -> None:
    reader = connect_reader(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM upstreams")
    reader.close()


def test_a_transaction_is_all_or_nothing_with_what_is_nested_in_it(index: Index) -> None:
    catalogue = Catalogue(index)

    def fail() -> None:
        with index.transaction():
            catalogue.save_upstream(UP, UpstreamFacts(date(2026, 1, 1)))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert catalogue.upstream(UP) == UpstreamFacts()
    assert not index.connection.in_transaction


def test_moments_sort_as_text_and_come_back() -> None:
    moments = [AT.replace(microsecond=0), AT, AT.replace(hour=13, microsecond=0)]
    texts = [to_text(moment) for moment in moments]
    assert texts == sorted(texts)
    assert texts[0] == "2026-03-10T12:00:00.000000Z"
    assert [from_text(text) for text in texts] == moments


# -- the catalogue


def test_what_was_listed_comes_back_as_it_was(index: Index) -> None:
    """Of a sub-resource all but the abstract, which nothing that decides reads."""
    catalogue = Catalogue(index)
    units = listed(index, sub("A"), sub("B", footprint=None))
    assert [units["A"].sub, units["B"].sub] == [sub("A"), sub("B", footprint=None)]
    assert catalogue.resources(UP) == {"BDTOPO": RESOURCE}
    catalogue.save_files(units["A"], FILES, at=AT)
    assert catalogue.files(units["A"].id) == FILES
    assert catalogue.reread([units["A"].id])[units["A"].id].files_listed_at == AT


def test_labels_are_kept_over_a_restart(tmp_path: Path) -> None:
    with Index(tmp_path) as index:
        listed(index, sub("A"))
    with Index(tmp_path) as index:
        (unit,) = Catalogue(index).units(UP)
        assert unit.sub.zones == (Term("D038", "D038 Isère"),)


def test_a_listing_withdraws_only_what_it_would_have_shown(index: Index) -> None:
    listed(index, sub("A"), sub("B", "D073"))
    assert Catalogue(index).save_listing(UP, RESOURCE, [Scope(zone="D038")], [], at=AT) == ["A"]
    assert [unit.sub.id for unit in Catalogue(index).units(UP)] == ["B"]


def test_what_comes_back_is_no_longer_withdrawn(index: Index) -> None:
    listed(index, sub("A"))
    listed(index)
    assert Catalogue(index).units(UP) == []
    assert listed(index, sub("A")).keys() == {"A"}


def test_a_complete_listing_withdraws_resources_and_a_filtered_one_does_not(index: Index) -> None:
    catalogue = Catalogue(index)
    listed(index, sub("A"))
    catalogue.save_resources(UP, [], complete=False)
    assert catalogue.resources(UP)
    catalogue.save_resources(UP, [], complete=True)
    assert catalogue.resources(UP) == {}
    assert catalogue.withdraw_resources(UP, at=AT) == [("BDTOPO", "A")]
    assert catalogue.withdraw_resources(UP, at=AT) == []


def test_another_upstream_is_another_world(index: Index) -> None:
    listed(index, sub("A"))
    assert Catalogue(index).units("other") == []
    Catalogue(index).save_resources("other", [], complete=True)
    assert Catalogue(index).resources(UP)


# -- the holdings


def test_counts_follow_what_is_published(index: Index) -> None:
    unit = listed(index, sub("A"))["A"]
    store(index, unit, *FILES)
    store(index, unit, FILES[1])
    larger = RemoteFile("x.7z.001", "", 11, "c" * 32)
    store(index, unit, larger)
    row = index.connection.execute("SELECT stored_files, stored_bytes FROM sub_resources").fetchone()
    assert tuple(row) == (2, 11 + 2)
    assert Holdings(index).indexed(unit.id)["x.7z.001"].size == 11


def test_states_of_a_series(index: Index) -> None:
    """The newest complete edition is `latest`; withdrawn, superseded and current say the rest."""
    units = listed(index, *(sub(f"E{year}", day=f"{year}-01-01") for year in (2022, 2023, 2024, 2025)))
    assert len({unit.series for unit in units.values()}) == 4  # E2022 is no version: give them one name to be editions of
    index.connection.execute("UPDATE sub_resources SET series = 'S'")
    holdings = Holdings(index)
    for year in (2022, 2023, 2024):
        store(index, units[f"E{year}"], FILES[0])
    holdings.parked.park(units["E2025"].id, FILES[0], "404", 3, at=AT)
    index.connection.execute("UPDATE sub_resources SET withdrawn_at = 'now' WHERE sub_resource = 'E2022'")
    assert holdings.refresh_states(UP, at=AT) == {"S": ("BDTOPO", "E2024")}
    assert column(index, "SELECT state FROM sub_resources ORDER BY sub_resource") == [
        "withdrawn",
        "superseded",
        "current",
        "parked",
    ]
    assert column(index, "SELECT sub_resource FROM sub_resources WHERE latest") == ["E2024"]
    assert holdings.newest_of(UP, "S") == ("BDTOPO", "E2024")


def test_an_incomplete_edition_is_not_the_newest(index: Index) -> None:
    units = listed(index, sub("BDTOPO_2024", day="2024-01-01"), sub("BDTOPO_2025", day="2025-01-01"))
    holdings = Holdings(index)
    store(index, units["BDTOPO_2024"], FILES[0])
    holdings.record(units["BDTOPO_2025"].id, units["BDTOPO_2025"].sub.updated, [StoredFile(FILES[0], 1, "1" * 32, "s")], at=AT)
    (newest,) = holdings.refresh_states(UP, at=AT).values()
    assert newest == ("BDTOPO", "BDTOPO_2024")
    store(index, units["BDTOPO_2025"], FILES[0])
    holdings.unsettle(units["BDTOPO_2025"].id)
    assert holdings.newest_of(UP, units["BDTOPO_2025"].series) == ("BDTOPO", "BDTOPO_2024")


def test_a_parked_file_counts_its_attempts_until_it_is_published(index: Index) -> None:
    unit = listed(index, sub("A"))["A"]
    holdings = Holdings(index)
    for attempts in (2, 3):
        holdings.parked.park(unit.id, FILES[0], "404", attempts, at=AT)
    assert column(index, "SELECT attempts FROM parked_files") == [5]
    assert column(index, "SELECT state FROM files") == ["parked"]
    assert holdings.parked.count([unit.id]) == 1
    holdings.record(unit.id, unit.sub.updated, [StoredFile(FILES[0], 1, "1" * 32, "s")], at=AT)
    assert column(index, "SELECT attempts FROM parked_files") == []
    assert column(index, "SELECT path FROM files") == ["data/gpf/BDTOPO/A/x.7z.001"]


def test_what_nobody_wants_is_no_longer_parked(index: Index) -> None:
    units = listed(index, sub("A"), sub("B"))
    holdings = Holdings(index)
    for unit in units.values():
        holdings.parked.park(unit.id, FILES[0], "404", 1, at=AT)
    holdings.parked.forget_unwanted(UP, [units["A"].id])
    assert column(index, "SELECT sub_resource FROM files") == ["A"]


def test_what_verify_found_wrong_has_no_path_and_is_not_settled(index: Index) -> None:
    unit = listed(index, sub("A"))["A"]
    store(index, unit, FILES[0])
    holdings = Holdings(index)
    holdings.mark_damaged([held.id for held in held_files(index.connection)])
    assert index.connection.execute("SELECT path, state FROM files").fetchone()[:] == (None, "parked")
    assert not holdings.indexed(unit.id)["x.7z.001"].sound
    assert Catalogue(index).reread([unit.id])[unit.id].settled is None
    holdings.mark_verified([held.id for held in held_files(index.connection)], at=AT)
    assert column(index, "SELECT state FROM files") == ["current"]


# -- searching


@pytest.mark.parametrize("text", ["batiments", "Bâtiments", "BÂTIMENTS", "isere", "departement", "lambert", "planche"])
def test_full_text_finds_words_without_diacritics(index: Index, text: str) -> None:
    """In abstracts, labels, titles and in what names of files add."""
    unit = listed(index, sub("A"))["A"]
    Catalogue(index).save_files(unit, [RemoteFile("A_Planche-12.7z", "")], at=AT)
    assert column(index, "SELECT rowid FROM search WHERE search MATCH ?", f"{text}*") == [unit.id]


def test_a_new_title_is_found_and_the_old_one_is_not(index: Index) -> None:
    unit = listed(index, sub("A", title="Ancien"))["A"]
    listed(index, sub("A", title="Nouveau"))
    assert column(index, "SELECT rowid FROM search WHERE search MATCH 'nouveau'") == [unit.id]
    assert column(index, "SELECT rowid FROM search WHERE search MATCH 'ancien'") == []


def test_words_of_file_names_follow_the_listing(index: Index) -> None:
    unit = listed(index, sub("A"))["A"]
    catalogue = Catalogue(index)
    for name in ("A_nord.7z.001", "A_sud.7z.001"):
        catalogue.save_files(unit, [RemoteFile(name, "")], at=AT)
    assert column(index, "SELECT rowid FROM search WHERE search MATCH 'sud'") == [unit.id]
    assert column(index, "SELECT rowid FROM search WHERE search MATCH 'nord'") == []


def test_footprints_are_in_the_r_tree_and_go_with_the_polygon(index: Index) -> None:
    within = "SELECT sub_resource_id FROM footprints WHERE west <= 5.5 AND east >= 5.5 AND south <= 44.5 AND north >= 44.5"
    unit = listed(index, sub("A"))["A"]
    assert column(index, within) == [unit.id]
    assert footprint_from_text(str(column(index, "SELECT footprint FROM sub_resources")[0])) == GROUND
    listed(index, sub("A", footprint=None))
    assert column(index, within) == []


def test_a_row_in_every_table_is_no_damage(index: Index) -> None:
    """By SQLite's own check, on which it hangs whether an index is set aside: 3.40 misreads some orders of columns."""
    sql = index.connection
    sql.execute("PRAGMA foreign_keys = OFF")
    names = [row[0] for row in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE TABLE%'")]
    for name in names:
        if name.startswith(("search", "footprints", "sqlite_")):
            continue  # virtual tables write their own
        columns = [row["name"] for row in sql.execute("SELECT * FROM pragma_table_info(?)", (name,)) if row["notnull"] or row["pk"]]
        values = [None if column == "id" else 1 for column in columns]
        marks = ",".join("?" * len(columns))
        sql.execute(f"INSERT INTO {name} ({','.join(columns)}) VALUES ({marks})", values)  # noqa: S608 - names of our own tables
        assert sql.execute(f"SELECT count(*) FROM {name}").fetchone()[0] >= 1  # noqa: S608
        assert find_damage(sql) is None, name
    assert "refused_entries" in names
