-- What the dashboard stands on: passwords, sign-ins, invitations, tokens, identities of elsewhere, and traffic by the minute.
-- The rules of the first schema hold. All of it goes with its account.

-- A hash in PHC format; never the password.
CREATE TABLE credentials (
    account_id INTEGER NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    phc        TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

-- `token_hash` is the SHA-256 of a secret that only the browser has: who reads this table cannot sign in with it.
CREATE TABLE web_sessions (
    token_hash BLOB    NOT NULL PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    csrf       TEXT    NOT NULL,
    via        TEXT    NOT NULL,
    source     TEXT,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX web_sessions_by_account ON web_sessions (account_id, seen_at);

-- An invitation makes an account of a tier; a password reset (`account_id`) is for one that is there. A tier that is removed takes
-- its invitations along: nobody could accept them any more.
CREATE TABLE invitations (
    id           TEXT    NOT NULL PRIMARY KEY,
    token_hash   BLOB    NOT NULL UNIQUE,
    kind         TEXT    NOT NULL CHECK (kind IN ('invitation', 'first-administrator', 'password-reset')),
    account_id   INTEGER REFERENCES accounts (id) ON DELETE CASCADE,
    account_name TEXT,
    tier         TEXT    REFERENCES tiers (name) ON DELETE CASCADE,
    is_admin     INTEGER NOT NULL CHECK (is_admin IN (0, 1)),
    created_by   TEXT,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    CHECK ((kind = 'password-reset') = (account_id IS NOT NULL)),
    CHECK ((kind = 'password-reset') = (tier IS NULL))
) STRICT;
CREATE INDEX invitations_by_account ON invitations (account_id);
CREATE INDEX invitations_by_tier ON invitations (tier);

CREATE TABLE api_tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    account_id   INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    token_hash   BLOB    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT;
CREATE INDEX api_tokens_by_account ON api_tokens (account_id);

-- OpenID Connect Core 1.0 §2: `sub` is unique within its `iss` and never given again.
CREATE TABLE oidc_identities (
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
CREATE INDEX oidc_identities_by_account ON oidc_identities (account_id);

-- `minute` is the time at which it began. Minutes without traffic have no row.
CREATE TABLE traffic_minutes (
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    port       INTEGER NOT NULL CHECK (port BETWEEN 0 AND 65535),
    minute     INTEGER NOT NULL,
    bytes_in   INTEGER NOT NULL,
    bytes_out  INTEGER NOT NULL,
    visitors   INTEGER NOT NULL,
    PRIMARY KEY (account_id, port, minute)
) STRICT;
CREATE INDEX traffic_minutes_by_time ON traffic_minutes (minute);

-- The audit page filters by the name that an event remembers, because the account itself may be gone.
CREATE INDEX audit_events_by_account_name ON audit_events (account_name, at, id);
