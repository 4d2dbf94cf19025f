CREATE TABLE {t}_meta (
    version INTEGER PRIMARY KEY,
    applied INTEGER NOT NULL
);

CREATE TABLE {t} (
    key               BLOB    NOT NULL PRIMARY KEY
        CHECK (typeof(key) = 'blob' AND length(key) = 32),
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
    ) STORED
);

CREATE INDEX {t}_by_owner ON {t} (owner, expires) WHERE owner IS NOT NULL;
CREATE INDEX {t}_by_expires ON {t} (expires);

CREATE VIEW {t}_readable AS
SELECT
    lower(hex(key)) AS key,
    lower(hex(substr(key, 1, 12))) AS id,
    CAST(owner AS TEXT) AS owner,
    CAST(value AS TEXT) AS value,
    version,
    strftime('%Y-%m-%d %H:%M:%f', created / 1000000.0, 'unixepoch') AS created,
    idle / 1000.0 AS idle_seconds,
    strftime('%Y-%m-%d %H:%M:%f', idle_deadline / 1000.0, 'unixepoch') AS idle_deadline,
    strftime('%Y-%m-%d %H:%M:%f', absolute_deadline / 1000.0, 'unixepoch') AS absolute_deadline,
    strftime('%Y-%m-%d %H:%M:%f', expires / 1000.0, 'unixepoch') AS expires,
    expires > {now} AS live
FROM {t};
