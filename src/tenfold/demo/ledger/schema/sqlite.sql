-- The ledger's tables on SQLite. Statements end with ";" at the end of a line; each can run again.
-- Every table of the group has an index that begins with its shard key.
-- Amounts are whole numbers of the currency's smallest unit; times are milliseconds since 1970, UTC.

CREATE TABLE IF NOT EXISTS currencies (
    code   TEXT NOT NULL PRIMARY KEY,
    name   TEXT NOT NULL,
    digits INTEGER NOT NULL
);

-- The group "user". Ids come from Tenfold: unique over all shards, and they carry their bucket.
CREATE TABLE IF NOT EXISTS users (
    id            INTEGER PRIMARY KEY,
    email         TEXT NOT NULL,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    currency      TEXT NOT NULL,
    balance       INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at    INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS users_email ON users (email);

CREATE TABLE IF NOT EXISTS user_meta (
    user_id INTEGER NOT NULL,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (user_id, name)
);

CREATE TABLE IF NOT EXISTS sessions (
    user_id    INTEGER NOT NULL,
    token_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, token_hash)
);

CREATE TABLE IF NOT EXISTS deposits (
    id         INTEGER PRIMARY KEY,
    user_id    INTEGER NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    note       TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS deposits_user ON deposits (user_id, id);

CREATE TABLE IF NOT EXISTS withdrawals (
    id         INTEGER PRIMARY KEY,
    user_id    INTEGER NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    note       TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS withdrawals_user ON withdrawals (user_id, id);

-- The entries: each movement of money, on the account "wallet" of its user or on the contra account "bank".
CREATE TABLE IF NOT EXISTS transactions (
    id         INTEGER PRIMARY KEY,
    user_id    INTEGER NOT NULL,
    account    TEXT NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount <> 0),
    kind       TEXT NOT NULL,
    ref        INTEGER NOT NULL,
    party      TEXT NOT NULL,
    note       TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS transactions_user ON transactions (user_id, account, created_at, id);

-- Transfers sent; the id is the transfer's. done_at is set once the receiver has been credited.
CREATE TABLE IF NOT EXISTS outbox (
    id          INTEGER PRIMARY KEY,
    user_id     INTEGER NOT NULL,
    receiver_id INTEGER NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount > 0),
    sender      TEXT NOT NULL,
    receiver    TEXT NOT NULL,
    note        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    done_at     INTEGER
);
CREATE INDEX IF NOT EXISTS outbox_user ON outbox (user_id, id);
CREATE INDEX IF NOT EXISTS outbox_open ON outbox (done_at, created_at);

-- Transfers received. A transfer has one receiver, so (user_id, transfer_id) is as unique as transfer_id
-- alone, and begins with the shard key, as a key that one shard can keep must.
CREATE TABLE IF NOT EXISTS credits (
    user_id     INTEGER NOT NULL,
    transfer_id INTEGER NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount > 0),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (user_id, transfer_id)
);

CREATE TABLE IF NOT EXISTS request_keys (
    user_id     INTEGER NOT NULL,
    request_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    ref         INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (user_id, request_key)
);

-- Pinned to one shard.
CREATE TABLE IF NOT EXISTS posts (
    id         INTEGER PRIMARY KEY,
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    author_id  INTEGER NOT NULL,
    author     TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS pages (
    id         INTEGER PRIMARY KEY,
    slug       TEXT NOT NULL,
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS pages_slug ON pages (slug);

-- topic is "post" or "page"; the author's name is kept beside their id, because users live on other shards.
CREATE TABLE IF NOT EXISTS comments (
    id         INTEGER PRIMARY KEY,
    topic      TEXT NOT NULL,
    topic_id   INTEGER NOT NULL,
    author_id  INTEGER NOT NULL,
    author     TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS comments_topic ON comments (topic, topic_id, id);

CREATE TABLE IF NOT EXISTS options (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
