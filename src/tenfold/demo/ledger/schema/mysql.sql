-- The ledger's tables on MariaDB 10.6 or newer and MySQL 8.
-- Statements end with ";" at the end of a line; each can run again.
-- Every table of the group has an index that begins with its shard key.
-- Amounts are whole numbers of the currency's smallest unit; times are milliseconds since 1970, UTC.
-- Columns that are compared byte by byte are ASCII with a binary collation; their values never end in spaces.
-- The one that Tenfold keeps unique has a collation under which not even such a space would be passed over.
-- MySQL has it for utf8mb4 alone, under another name: setup.py writes that there.

CREATE TABLE IF NOT EXISTS currencies (
    code   CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    name   VARCHAR(40) NOT NULL,
    digits TINYINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- The group "user". Ids come from Tenfold: unique over all shards, and they carry their bucket.
-- So no table of the group counts by itself (AUTO_INCREMENT): two shards would give the same number.
CREATE TABLE IF NOT EXISTS users (
    id            BIGINT NOT NULL PRIMARY KEY,
    email         VARCHAR(254) CHARACTER SET ascii COLLATE ascii_nopad_bin NOT NULL,
    name          VARCHAR(80) NOT NULL,
    password_hash VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    currency      CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    balance       BIGINT NOT NULL DEFAULT 0,
    created_at    BIGINT NOT NULL,
    UNIQUE KEY users_email (email),
    CHECK (balance >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS user_meta (
    user_id BIGINT NOT NULL,
    name    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    value   VARCHAR(500) NOT NULL,
    PRIMARY KEY (user_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS sessions (
    user_id    BIGINT NOT NULL,
    token_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, token_hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS deposits (
    id         BIGINT NOT NULL PRIMARY KEY,
    user_id    BIGINT NOT NULL,
    amount     BIGINT NOT NULL,
    note       VARCHAR(200) NOT NULL,
    created_at BIGINT NOT NULL,
    KEY deposits_user (user_id, id),
    CHECK (amount > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS withdrawals (
    id         BIGINT NOT NULL PRIMARY KEY,
    user_id    BIGINT NOT NULL,
    amount     BIGINT NOT NULL,
    note       VARCHAR(200) NOT NULL,
    created_at BIGINT NOT NULL,
    KEY withdrawals_user (user_id, id),
    CHECK (amount > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- The entries: each movement of money, on the account "wallet" of its user or on the contra account "bank".
CREATE TABLE IF NOT EXISTS transactions (
    id         BIGINT NOT NULL PRIMARY KEY,
    user_id    BIGINT NOT NULL,
    account    VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    amount     BIGINT NOT NULL,
    kind       VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    ref        BIGINT NOT NULL,
    party      VARCHAR(80) NOT NULL,
    note       VARCHAR(200) NOT NULL,
    created_at BIGINT NOT NULL,
    KEY transactions_user (user_id, account, created_at, id),
    CHECK (amount <> 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Transfers sent; the id is the transfer's. done_at is set once the receiver has been credited.
CREATE TABLE IF NOT EXISTS outbox (
    id          BIGINT NOT NULL PRIMARY KEY,
    user_id     BIGINT NOT NULL,
    receiver_id BIGINT NOT NULL,
    amount      BIGINT NOT NULL,
    sender      VARCHAR(80) NOT NULL,
    receiver    VARCHAR(80) NOT NULL,
    note        VARCHAR(200) NOT NULL,
    created_at  BIGINT NOT NULL,
    done_at     BIGINT NULL,
    KEY outbox_user (user_id, id),
    KEY outbox_open (done_at, created_at),
    CHECK (amount > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Transfers received. A transfer has one receiver, so (user_id, transfer_id) is as unique as transfer_id
-- alone, and begins with the shard key, as a key that one shard can keep must.
CREATE TABLE IF NOT EXISTS credits (
    user_id     BIGINT NOT NULL,
    transfer_id BIGINT NOT NULL,
    amount      BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (user_id, transfer_id),
    CHECK (amount > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS request_keys (
    user_id     BIGINT NOT NULL,
    request_key VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    fingerprint CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    ref         BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (user_id, request_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Pinned to one shard, which may therefore count by itself.
CREATE TABLE IF NOT EXISTS posts (
    id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    title      VARCHAR(150) NOT NULL,
    body       MEDIUMTEXT NOT NULL,
    author_id  BIGINT NOT NULL,
    author     VARCHAR(80) NOT NULL,
    created_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS pages (
    id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    slug       VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    title      VARCHAR(150) NOT NULL,
    body       MEDIUMTEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE KEY pages_slug (slug)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- topic is "post" or "page"; the author's name is kept beside their id, because users live on other shards.
CREATE TABLE IF NOT EXISTS comments (
    id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    topic      VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    topic_id   BIGINT NOT NULL,
    author_id  BIGINT NOT NULL,
    author     VARCHAR(80) NOT NULL,
    body       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    KEY comments_topic (topic, topic_id, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS options (
    name  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
