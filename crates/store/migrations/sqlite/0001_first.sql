-- The first schema. Rules for every table, so that PostgreSQL can hold the same rows:
--   * a time is an integer: milliseconds since 1970-01-01 UTC;
--   * a truth value is 0 or 1 here, BOOLEAN there; the statements only write TRUE, FALSE and parameters;
--   * STRICT, because PostgreSQL would refuse a text in an integer column too.

-- 'adit' in ASCII: tells our file from another program's SQLite file.
PRAGMA application_id = 1633970548;

-- `generation` counts changes to accounts, keys and tiers; `fence` counts granted leases. Neither ever goes back.
CREATE TABLE counters (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO counters (name, value) VALUES ('generation', 0), ('fence', 0);

-- A NULL limit means "the server's default"; 0 means "no limit".
CREATE TABLE tiers (
    name                          TEXT NOT NULL PRIMARY KEY,
    forwards_per_account          INTEGER CHECK (forwards_per_account >= 0),
    visitors_per_port             INTEGER CHECK (visitors_per_port >= 0),
    visitors_per_account          INTEGER CHECK (visitors_per_account >= 0),
    bytes_per_second_to_owner     INTEGER CHECK (bytes_per_second_to_owner >= 0),
    bytes_per_second_to_visitors  INTEGER CHECK (bytes_per_second_to_visitors >= 0)
) STRICT;
INSERT INTO tiers (name) VALUES ('community'), ('plus'), ('pro');

-- AUTOINCREMENT: the id of a removed account is never given again, so old audit events can't point at a newcomer.
CREATE TABLE accounts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    tier       TEXT    NOT NULL REFERENCES tiers (name),
    is_admin   INTEGER NOT NULL CHECK (is_admin IN (0, 1)),
    disabled   INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX accounts_by_tier ON accounts (tier);

CREATE TABLE keys (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    blob         BLOB    NOT NULL UNIQUE,
    fingerprint  TEXT    NOT NULL,
    key_type     TEXT    NOT NULL,
    label        TEXT    NOT NULL,
    added_at     INTEGER NOT NULL,
    last_used_at INTEGER,
    expires_at   INTEGER,
    first_port   INTEGER,
    last_port    INTEGER,
    CHECK ((first_port IS NULL) = (last_port IS NULL)),
    CHECK (first_port IS NULL OR (first_port BETWEEN 0 AND 65535 AND last_port BETWEEN first_port AND 65535)),
    UNIQUE (account_id, fingerprint)
) STRICT;

-- An inventory that people keep; it grants nothing and refuses nothing.
CREATE TABLE registered_ports (
    id          TEXT    NOT NULL PRIMARY KEY,
    account_id  INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    port        INTEGER NOT NULL CHECK (port BETWEEN 0 AND 65535),
    description TEXT    NOT NULL,
    shared      INTEGER NOT NULL CHECK (shared IN (0, 1)),
    created_at  INTEGER NOT NULL,
    UNIQUE (account_id, port)
) STRICT;

CREATE TABLE leases (
    port        INTEGER NOT NULL PRIMARY KEY CHECK (port BETWEEN 0 AND 65535),
    account_id  INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    node        TEXT    NOT NULL,
    session     INTEGER NOT NULL,
    fence       INTEGER NOT NULL UNIQUE,
    acquired_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX leases_by_account ON leases (account_id);
CREATE INDEX leases_by_node ON leases (node);

-- No reference to accounts: what an account did is still told after it is gone.
CREATE TABLE audit_events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    account_id   INTEGER,
    account_name TEXT,
    session      INTEGER,
    source       TEXT,
    detail       TEXT    NOT NULL,
    CHECK ((account_id IS NULL) = (account_name IS NULL))
) STRICT;
CREATE INDEX audit_events_by_time ON audit_events (at, id);
CREATE INDEX audit_events_by_account ON audit_events (account_id, at, id);
CREATE INDEX audit_events_by_kind ON audit_events (kind, at, id);
