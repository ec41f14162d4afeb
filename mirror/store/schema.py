"""The index's tables, as numbered migrations from the first version on. A landed migration is never edited: add one."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from mirror.steps import step

migrations = Migrations("inspire-mirror")


@migrations()
def m001_first(db: Database) -> None:
    """The catalogue (what upstreams list), the holdings (what is here) and the journal (what happened)."""
    _execute(db, _FIRST)


@migrations()
def m002_trust(db: Database) -> None:
    """What archives hold, what is unpacked, when parked files are tried again, what retention is about to take away."""
    _execute(db, _TRUST)


@migrations()
def m003_rebuilding(db: Database) -> None:
    """Which upstreams' files are still to be taken in, where the index was made anew beside them."""
    db.execute("CREATE TABLE rebuilding (upstream TEXT PRIMARY KEY, since TEXT NOT NULL) WITHOUT ROWID")


@migrations()
def m005_hooks(db: Database) -> None:
    """Which publications commands are to be run for, and how that went."""
    _execute(db, _HOOKS)


@migrations()
def m006_watch(db: Database) -> None:
    """How each upstream has answered, hour by hour; and what metrics count can be counted without reading all files and runs."""
    _execute(db, _WATCH)


@migrations()
def m007_serving(db: Database) -> None:
    """When what is here has last changed, and under which code catalogues know a resource."""
    _execute(db, _SERVING)


@migrations()
def m008_large(db: Database) -> None:
    """What is said of editions together is read without their rows, which footprints make long."""
    _execute(db, _LARGE)


def _execute(db: Database, statements: str) -> None:
    for statement in statements.split(";;"):
        db.execute(statement)
        step("index: a statement of a migration")


_FIRST = """
CREATE TABLE upstreams (
    upstream TEXT PRIMARY KEY,
    high_water TEXT,          -- the newest day of publication that a complete capabilities listing has shown
    full_listed_at TEXT       -- when all resources were last listed
) WITHOUT ROWID;;
CREATE TABLE resources (
    id INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL,
    resource TEXT NOT NULL,
    title TEXT NOT NULL,
    abstract TEXT NOT NULL,
    updated TEXT,
    edition_from TEXT,
    edition_to TEXT,
    zones TEXT NOT NULL,       -- JSON arrays of codes as published, here and in sub_resources
    formats TEXT NOT NULL,
    crs TEXT NOT NULL,
    resolutions TEXT NOT NULL,
    footprint TEXT,            -- GeoJSON geometry, lon/lat
    url TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'listed',   -- listed, withdrawn
    fingerprint TEXT NOT NULL,
    UNIQUE (upstream, resource)
);;
CREATE TABLE listings (        -- the complete listings of sub-resources: which request, of which state of the resource, when
    upstream TEXT NOT NULL,
    resource TEXT NOT NULL,
    scope TEXT NOT NULL,       -- the upstream's own filters that narrowed it; empty: the whole resource
    fingerprint TEXT NOT NULL, -- of the resource at that time
    listed_at TEXT NOT NULL,
    PRIMARY KEY (upstream, resource, scope)
) WITHOUT ROWID;;
CREATE TABLE sub_resources (
    id INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL,
    resource TEXT NOT NULL,
    sub_resource TEXT NOT NULL,
    title TEXT NOT NULL,
    abstract TEXT NOT NULL,
    edition_date TEXT,
    updated TEXT,
    zones TEXT NOT NULL,
    formats TEXT NOT NULL,
    crs TEXT NOT NULL,
    resolutions TEXT NOT NULL,
    footprint TEXT,
    url TEXT NOT NULL,
    series TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'listed',   -- listed, current, superseded, withdrawn, parked
    latest INTEGER NOT NULL DEFAULT 0,      -- 1: the newest complete edition of its series that is here
    withdrawn_at TEXT,
    fingerprint TEXT NOT NULL,
    listed_at TEXT NOT NULL,                -- when this fingerprint was first seen
    files_fingerprint TEXT,                 -- the fingerprint for which the files were listed
    files_listed_at TEXT,
    files_digest TEXT,                      -- of the listing of files
    listed_files INTEGER,
    listed_bytes INTEGER,
    complete INTEGER NOT NULL DEFAULT 0,    -- 1: every wanted file is here
    settled TEXT,                           -- files_digest and file globs for which it was complete
    settled_files INTEGER NOT NULL DEFAULT 0,   -- how many files that were
    settled_bytes INTEGER NOT NULL DEFAULT 0,
    folder_stamp INTEGER,                   -- st_mtime_ns of the folder then
    stored_files INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (upstream, resource, sub_resource)
);;
CREATE INDEX sub_resources_by_series ON sub_resources (upstream, series);;
CREATE INDEX sub_resources_by_latest ON sub_resources (latest, upstream, resource);;
CREATE INDEX sub_resources_by_edition ON sub_resources (edition_date);;
CREATE TABLE terms (           -- the labels of codes, as published
    upstream TEXT NOT NULL,
    kind TEXT NOT NULL,        -- zone, format, crs, resolution
    code TEXT NOT NULL,
    label TEXT NOT NULL,
    PRIMARY KEY (upstream, kind, code)
) WITHOUT ROWID;;
CREATE TABLE sub_resource_terms (   -- folded codes (D0971 as D971), for filters
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    sub_resource_id INTEGER NOT NULL REFERENCES sub_resources (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, code, sub_resource_id)
) WITHOUT ROWID;;
CREATE INDEX sub_resource_terms_by_sub_resource ON sub_resource_terms (sub_resource_id);;
CREATE TABLE listed_files (    -- what upstream lists
    sub_resource_id INTEGER NOT NULL REFERENCES sub_resources (id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    position INTEGER NOT NULL, -- in the feed: the same name may be listed twice
    url TEXT NOT NULL,
    size INTEGER,
    md5 TEXT,
    media_type TEXT NOT NULL,
    rel TEXT NOT NULL,
    contents TEXT NOT NULL,
    PRIMARY KEY (sub_resource_id, position)
) WITHOUT ROWID;;
CREATE TABLE stored_files (    -- what is published here
    id INTEGER PRIMARY KEY,
    sub_resource_id INTEGER NOT NULL REFERENCES sub_resources (id),
    file TEXT NOT NULL,
    url TEXT NOT NULL,
    size INTEGER NOT NULL,
    md5 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    updated TEXT,              -- of the sub-resource when this was fetched
    fetched_at TEXT NOT NULL,
    verified_at TEXT,          -- null: verify found it wrong
    UNIQUE (sub_resource_id, file)
);;
CREATE TABLE announced_files (  -- about to be published: what a killed run leaves here is settled by the next
    sub_resource_id INTEGER NOT NULL REFERENCES sub_resources (id),
    file TEXT NOT NULL,
    url TEXT NOT NULL,
    size INTEGER NOT NULL,
    md5 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    updated TEXT,
    PRIMARY KEY (sub_resource_id, file)
) WITHOUT ROWID;;
CREATE TABLE parked_files (    -- wanted, not to be had yet
    sub_resource_id INTEGER NOT NULL REFERENCES sub_resources (id),
    file TEXT NOT NULL,
    url TEXT NOT NULL,
    size INTEGER,
    md5 TEXT,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    since TEXT NOT NULL,
    last_try TEXT NOT NULL,
    PRIMARY KEY (sub_resource_id, file)
) WITHOUT ROWID;;
CREATE VIEW files AS
    SELECT s.upstream, s.resource, s.sub_resource, s.title, f.file,
           CASE WHEN f.verified_at IS NOT NULL  -- what verify found wrong has no path
                THEN 'data/' || s.upstream || '/' || s.resource || '/' || s.sub_resource || '/' || f.file END AS path,
           f.url, f.size, f.md5, f.sha256, s.zones, s.formats, s.crs, s.edition_date, s.updated,
           CASE WHEN f.verified_at IS NULL THEN 'parked'
                WHEN s.state IN ('listed', 'parked') THEN 'current' ELSE s.state END AS state,
           s.latest, f.fetched_at, f.verified_at, NULL AS reason
      FROM stored_files f JOIN sub_resources s ON s.id = f.sub_resource_id
    UNION ALL
    SELECT s.upstream, s.resource, s.sub_resource, s.title, p.file, NULL, p.url, p.size, p.md5, NULL, s.zones, s.formats, s.crs,
           s.edition_date, s.updated, 'parked', 0, NULL, NULL, p.reason
      FROM parked_files p JOIN sub_resources s ON s.id = p.sub_resource_id
     WHERE NOT EXISTS (SELECT 1 FROM stored_files f WHERE f.sub_resource_id = p.sub_resource_id AND f.file = p.file);;
CREATE TABLE subscriptions (
    subscription TEXT PRIMARY KEY,
    upstream TEXT NOT NULL,
    last_run_at TEXT,
    last_success_at TEXT,      -- the last run after which it was complete
    outcome TEXT,
    upstream_date TEXT,        -- the newest publication among what it wants
    expected INTEGER,          -- null until a run has come far enough to count
    present INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    parked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;;
CREATE TABLE wanted (          -- which subscription wants which sub-resource, as of its last sync
    subscription TEXT NOT NULL,
    sub_resource_id INTEGER NOT NULL REFERENCES sub_resources (id),
    PRIMARY KEY (subscription, sub_resource_id)
) WITHOUT ROWID;;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    command TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,          -- null: still running, or killed
    outcome TEXT,
    exit_code INTEGER,
    subscriptions TEXT NOT NULL,
    requests INTEGER,
    report TEXT                -- the JSON that `sync --json` gave
);;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    run_id INTEGER REFERENCES runs (id),
    at TEXT NOT NULL,
    kind TEXT NOT NULL,        -- published, parked, withdrawn, listing-failed, damaged
    upstream TEXT,
    resource TEXT,
    sub_resource TEXT,
    file TEXT,
    message TEXT NOT NULL DEFAULT ''
);;
CREATE INDEX events_by_time ON events (at);;
CREATE VIRTUAL TABLE footprints USING rtree (sub_resource_id, west, east, south, north);;
CREATE VIRTUAL TABLE search USING fts5 (
    resource, sub_resource, title, abstract, about_resource, labels, files, tokenize = "unicode61 remove_diacritics 2"
)
"""

_TRUST = """
ALTER TABLE sub_resources ADD COLUMN superseded_at TEXT;;   -- since when a newer edition of its series is here
ALTER TABLE parked_files ADD COLUMN failed_runs INTEGER NOT NULL DEFAULT 0;;   -- in a row, that ended with wrong bytes
ALTER TABLE parked_files ADD COLUMN next_try TEXT;;         -- null: with the next run
ALTER TABLE parked_files ADD COLUMN updated TEXT;;          -- of the sub-resource when it was tried last
CREATE TABLE archives (        -- published archives, and what a look into them has shown
    id INTEGER PRIMARY KEY,
    sub_resource_id INTEGER NOT NULL REFERENCES sub_resources (id),
    archive TEXT NOT NULL,     -- its file name; of volumes, without their number
    probed_at TEXT,            -- null: nobody has looked yet
    members INTEGER,           -- null: it could not be read, see error
    bytes INTEGER,             -- of all members, unpacked
    error TEXT,
    UNIQUE (sub_resource_id, archive)
);;
CREATE INDEX archives_to_probe ON archives (sub_resource_id) WHERE probed_at IS NULL;;
CREATE TABLE members (         -- what is inside published archives
    archive_id INTEGER NOT NULL REFERENCES archives (id) ON DELETE CASCADE,
    position INTEGER NOT NULL, -- in the archive
    member TEXT NOT NULL,      -- path inside the archive, with /
    size INTEGER,              -- unpacked, in bytes; null where the archive does not say
    type TEXT NOT NULL,        -- the media type that its name tells
    PRIMARY KEY (archive_id, position)
) WITHOUT ROWID;;
CREATE TABLE extractions (     -- what lies unpacked under extracted/
    sub_resource_id INTEGER PRIMARY KEY REFERENCES sub_resources (id),
    digest TEXT NOT NULL,      -- of the SHA-256 of all archives that were unpacked, or could not be
    settled TEXT,              -- that of the sub-resource then: while it stays, nothing has changed
    extracted_at TEXT,         -- null: it could not be unpacked, see error
    files INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    error TEXT
);;
CREATE TABLE refused_entries (  -- resources that upstream lists in a way that cannot be taken
    upstream TEXT NOT NULL,
    resource TEXT NOT NULL,    -- empty: it has no usable name
    reason TEXT NOT NULL,
    url TEXT NOT NULL,         -- behind the key's columns: SQLite 3.40 takes any other order for damage (PRAGMA quick_check)
    PRIMARY KEY (upstream, resource, reason)
) WITHOUT ROWID;;
CREATE TABLE leaving (         -- retention has decided to delete these; a killed run leaves the rest to the next
    sub_resource_id INTEGER PRIMARY KEY REFERENCES sub_resources (id),
    reason TEXT NOT NULL
)
"""

_HOOKS = """
ALTER TABLE sub_resources ADD COLUMN publication INTEGER NOT NULL DEFAULT 0;;  -- how many times new bytes were published in it
ALTER TABLE stored_files ADD COLUMN publication INTEGER NOT NULL DEFAULT 0;;   -- in which of them; 0: adopted, or of old
CREATE TABLE hook_seen (       -- the publication up to which a subscription has taken notice, whether it has a hook or not
    subscription TEXT NOT NULL,
    sub_resource_id INTEGER NOT NULL REFERENCES sub_resources (id) ON DELETE CASCADE,
    publication INTEGER NOT NULL,
    PRIMARY KEY (subscription, sub_resource_id)
) WITHOUT ROWID;;
CREATE TABLE hook_jobs (       -- commands to be run; of each thing the newest that has ended, and one that has not
    id INTEGER PRIMARY KEY,
    subscription TEXT NOT NULL,
    hook TEXT NOT NULL,        -- on_publish, on_failure, on_complete
    upstream TEXT NOT NULL,
    resource TEXT NOT NULL,    -- empty: it is about a run
    sub_resource TEXT NOT NULL,
    run_id INTEGER,            -- the run in which it came up
    publication INTEGER,       -- of the sub-resource
    handled INTEGER,           -- the publication that a command was run for before
    facts TEXT,                -- JSON: what a run came to
    created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,   -- begun
    started_at TEXT,           -- the last of them
    since TEXT,                -- when it failed first
    next_try TEXT,
    finished_at TEXT,          -- null: still to be run, or given up
    outcome TEXT,              -- null: not tried yet; failed, given-up, done
    message TEXT NOT NULL DEFAULT ''       -- the last words of the command
);;
CREATE UNIQUE INDEX hook_jobs_open ON hook_jobs (subscription, hook, upstream, resource, sub_resource) WHERE finished_at IS NULL
"""

_WATCH = """
CREATE TABLE upstream_hours (  -- requests of an hour (UTC), redirects and retries included
    upstream TEXT NOT NULL,
    hour TEXT NOT NULL,        -- 2026-10-06T14
    answered INTEGER NOT NULL, -- with anything but a 5xx status: 403, 404 and 429 are answers
    failed INTEGER NOT NULL,   -- no answer, or a 5xx status
    offline INTEGER NOT NULL,  -- no answer for a reason on this side
    probes INTEGER NOT NULL,   -- how many of them all were made for no other purpose
    seconds REAL NOT NULL,     -- until the heads of what was answered, in sum
    slowest REAL NOT NULL,
    PRIMARY KEY (upstream, hour)
) WITHOUT ROWID;;
CREATE INDEX stored_files_found_wrong ON stored_files (sub_resource_id) WHERE verified_at IS NULL;;
CREATE INDEX sub_resources_stored ON sub_resources (upstream, state, stored_files, stored_bytes) WHERE stored_files > 0;;
CREATE INDEX runs_by_command ON runs (command)
"""

_SERVING = """
ALTER TABLE resources ADD COLUMN identifier TEXT NOT NULL DEFAULT '';;  -- spatialDatasetIdentifierCode
ALTER TABLE sub_resources ADD COLUMN changed_at TEXT;;      -- when bytes last came or went here; null: none ever did
ALTER TABLE sub_resources ADD COLUMN republished_at TEXT;;  -- when that happened without a new date of upstream's; else null
UPDATE sub_resources SET changed_at =
    (SELECT max(fetched_at) FROM stored_files f WHERE f.sub_resource_id = sub_resources.id) WHERE stored_files > 0;;
CREATE INDEX sub_resources_by_change ON sub_resources (upstream, changed_at);;
CREATE INDEX sub_resources_served ON sub_resources (upstream, resource, sub_resource) WHERE complete = 1 AND stored_files > 0
"""

_LARGE = """
CREATE INDEX sub_resources_offered ON sub_resources (
    upstream, resource, crs, formats, zones, resolutions, sub_resource, latest, series, edition_date, changed_at, withdrawn_at,
    stored_files, stored_bytes, complete
) WHERE complete = 1 AND stored_files > 0
"""
