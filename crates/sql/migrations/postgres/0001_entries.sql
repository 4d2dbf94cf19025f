CREATE TABLE {t}_meta (
    version bigint PRIMARY KEY,
    applied bigint NOT NULL
);

CREATE TABLE {t} (
    key               bytea  PRIMARY KEY CHECK (octet_length(key) = 32),
    version           bigint NOT NULL,
    value             bytea  NOT NULL,
    owner             bytea,
    created           bigint NOT NULL,
    idle              bigint,
    idle_deadline     bigint,
    absolute_deadline bigint,
    expires           bigint NOT NULL GENERATED ALWAYS AS (
        LEAST(idle_deadline, absolute_deadline, 9223372036854775807)
    ) STORED
);

CREATE INDEX {t}_by_owner ON {t} (owner, expires) WHERE owner IS NOT NULL;
CREATE INDEX {t}_by_expires ON {t} (expires);

CREATE VIEW {t}_readable AS
SELECT
    encode(key, 'hex') AS key,
    encode(substring(key FROM 1 FOR 12), 'hex') AS id,
    CASE WHEN position(decode('00', 'hex') IN owner) = 0 AND getdatabaseencoding() = 'UTF8'
        THEN convert_from(owner, 'UTF8') ELSE encode(owner, 'escape') END AS owner,
    encode(value, 'escape') AS value,
    version,
    to_timestamp(created / 1000000.0) AS created,
    idle * interval '1 millisecond' AS idle,
    CASE WHEN idle_deadline < 253402300800000
        THEN to_timestamp(idle_deadline / 1000.0) ELSE 'infinity' END AS idle_deadline,
    CASE WHEN absolute_deadline < 253402300800000
        THEN to_timestamp(absolute_deadline / 1000.0)
        WHEN absolute_deadline IS NOT NULL THEN 'infinity' END AS absolute_deadline,
    CASE WHEN expires < 253402300800000
        THEN to_timestamp(expires / 1000.0) ELSE 'infinity' END AS expires,
    expires > {now} AS live
FROM {t};
