CREATE TABLE IF NOT EXISTS {t}_meta (
    version BIGINT PRIMARY KEY,
    applied BIGINT NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS {t}_locks (
    slot INT PRIMARY KEY
) ENGINE = InnoDB;

INSERT IGNORE INTO {t}_locks (slot)
WITH RECURSIVE slots (slot) AS (
    SELECT 0 UNION ALL SELECT slot + 1 FROM slots WHERE slot < 511
)
SELECT slot FROM slots;

CREATE TABLE IF NOT EXISTS {t} (
    `key`             BINARY(32) NOT NULL PRIMARY KEY,
    version           BIGINT     NOT NULL,
    value             LONGBLOB   NOT NULL,
    owner             VARBINARY(255),
    created           BIGINT     NOT NULL,
    idle              BIGINT,
    idle_deadline     BIGINT,
    absolute_deadline BIGINT,
    expires           BIGINT GENERATED ALWAYS AS (
        LEAST(COALESCE(idle_deadline, 9223372036854775807),
              COALESCE(absolute_deadline, 9223372036854775807))
    ) STORED,
    INDEX {t}_by_owner (owner, expires),
    INDEX {t}_by_expires (expires)
) ENGINE = InnoDB;

CREATE OR REPLACE VIEW {t}_readable AS
SELECT
    LOWER(HEX(`key`)) AS `key`,
    LOWER(HEX(SUBSTRING(`key`, 1, 12))) AS id,
    CONVERT(owner USING utf8mb4) AS owner,
    CONVERT(value USING utf8mb4) AS value,
    version,
    TIMESTAMP('1970-01-01') + INTERVAL created MICROSECOND AS created,
    idle / 1000 AS idle_seconds,
    CASE WHEN idle_deadline < 253402300800000
        THEN TIMESTAMP('1970-01-01') + INTERVAL idle_deadline * 1000 MICROSECOND
    END AS idle_deadline,
    CASE WHEN absolute_deadline < 253402300800000
        THEN TIMESTAMP('1970-01-01') + INTERVAL absolute_deadline * 1000 MICROSECOND
    END AS absolute_deadline,
    CASE WHEN expires < 253402300800000
        THEN TIMESTAMP('1970-01-01') + INTERVAL expires * 1000 MICROSECOND
    END AS expires,
    expires > {now} AS live
FROM {t};
