CREATE TABLE {t}_meta (
    version INTEGER PRIMARY KEY,
    applied INTEGER NOT NULL
);

CREATE TABLE {t} (
    key               BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    id                INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    value             BLOB    NOT NULL,
    owner             BLOB,
    created           INTEGER NOT NULL,
    idle              INTEGER,
    idle_deadline     INTEGER,
    absolute_deadline INTEGER,
    expires           INTEGER NOT NULL GENERATED ALWAYS AS (
        min(COALESCE(idle_deadline, 9223372036854775807),
            COALESCE(absolute_deadline, 9223372036854775807))
    ) STORED,
    successor         BLOB
);

CREATE INDEX {t}_by_owner ON {t} (owner, created, id) WHERE owner IS NOT NULL;
CREATE INDEX {t}_by_expires ON {t} (expires);
CREATE INDEX {t}_by_successor ON {t} (successor) WHERE successor IS NOT NULL;

CREATE VIEW {t}_readable AS
SELECT
    lower(hex(key)) AS key,
    CAST(owner AS TEXT) AS owner,
    CAST(value AS TEXT) AS value,
    version,
    id,
    strftime('%Y-%m-%d %H:%M:%f', created / 1000000.0, 'unixepoch') AS created,
    idle / 1000.0 AS idle_seconds,
    strftime('%Y-%m-%d %H:%M:%f', idle_deadline / 1000.0, 'unixepoch') AS idle_deadline,
    strftime('%Y-%m-%d %H:%M:%f', absolute_deadline / 1000.0, 'unixepoch') AS absolute_deadline,
    strftime('%Y-%m-%d %H:%M:%f', expires / 1000.0, 'unixepoch') AS expires,
    expires > unixepoch('subsec') * 1000 AS live,
    lower(hex(successor)) AS successor
FROM {t};
