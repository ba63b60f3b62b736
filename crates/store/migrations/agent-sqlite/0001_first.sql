-- What the local agent remembers. The rules for tables are those of the jump host's store: times are integers, milliseconds since
-- 1970-01-01 UTC; truth values are 0 or 1; every table is STRICT.
--
-- No secret stands here: a `…_secret` is a name under which the keyring or the encrypted file keeps one.

-- 'adia' in ASCII: tells the agent's file from the jump host's, and from another program's.
PRAGMA application_id = 1633970529;

-- The jump of a profile is what everything with this profile inherits.
CREATE TABLE profiles (
    id                TEXT    NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL,
    username          TEXT    NOT NULL,
    auth_method       TEXT    NOT NULL CHECK (auth_method IN ('password', 'key', 'agent', 'keyboard_interactive')),
    key_path          TEXT,
    password_secret   TEXT,
    passphrase_secret TEXT,
    legacy_algorithms INTEGER NOT NULL CHECK (legacy_algorithms IN (0, 1)),
    jump_host_id      TEXT REFERENCES jump_hosts (id),
    jump_session_id   TEXT REFERENCES sessions (id),
    enabled           INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    CHECK (jump_host_id IS NULL OR jump_session_id IS NULL)
) STRICT;

CREATE TABLE jump_hosts (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    host       TEXT    NOT NULL,
    port       INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    profile_id TEXT    NOT NULL REFERENCES profiles (id),
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    port            INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    profile_id      TEXT    NOT NULL REFERENCES profiles (id),
    jump_host_id    TEXT REFERENCES jump_hosts (id),
    jump_session_id TEXT REFERENCES sessions (id),
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    CHECK (jump_host_id IS NULL OR jump_session_id IS NULL)
) STRICT;

-- A session's forwards, in the order in which people put them.
CREATE TABLE session_forwards (
    session_id   TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    forward_type TEXT    NOT NULL CHECK (forward_type IN ('local', 'dynamic', 'remote')),
    local_port   INTEGER NOT NULL CHECK (local_port BETWEEN 1 AND 65535),
    bind_address TEXT    NOT NULL,
    remote_host  TEXT,
    remote_port  INTEGER CHECK (remote_port BETWEEN 0 AND 65535),
    enabled      INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    PRIMARY KEY (session_id, position)
) STRICT;

CREATE TABLE tunnels (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    port            INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    profile_id      TEXT    NOT NULL REFERENCES profiles (id),
    jump_host_id    TEXT REFERENCES jump_hosts (id),
    jump_session_id TEXT REFERENCES sessions (id),
    forward_type    TEXT    NOT NULL CHECK (forward_type IN ('local', 'dynamic', 'remote')),
    local_port      INTEGER NOT NULL CHECK (local_port BETWEEN 1 AND 65535),
    bind_address    TEXT    NOT NULL,
    remote_host     TEXT,
    remote_port     INTEGER CHECK (remote_port BETWEEN 0 AND 65535),
    auto_start      INTEGER NOT NULL CHECK (auto_start IN (0, 1)),
    auto_reconnect  INTEGER NOT NULL CHECK (auto_reconnect IN (0, 1)),
    max_retries     INTEGER NOT NULL CHECK (max_retries >= 0),
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    CHECK (jump_host_id IS NULL OR jump_session_id IS NULL)
) STRICT;

-- One row: what is set for the agent as a whole.
CREATE TABLE settings (
    only            INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    controller_mode INTEGER NOT NULL CHECK (controller_mode IN (0, 1)),
    host_key_policy TEXT    NOT NULL CHECK (host_key_policy IN ('strict', 'ask', 'accept-new'))
) STRICT;
INSERT INTO settings (only, controller_mode, host_key_policy) VALUES (1, 0, 'ask');
