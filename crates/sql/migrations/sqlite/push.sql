CREATE TABLE {t}_changes (
    id  INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL
);

CREATE TRIGGER {t}_push_0 AFTER INSERT ON {t}_changes BEGIN
    DELETE FROM {t}_changes WHERE id <= NEW.id - 10000;
END;

CREATE TRIGGER {t}_push_1 AFTER INSERT ON {t} BEGIN
    INSERT INTO {t}_changes (key) VALUES (NEW.key);
END;

-- A row was changed by more than a later deadline.
CREATE TRIGGER {t}_push_2 AFTER UPDATE ON {t} WHEN
    OLD.version <> NEW.version OR OLD.key <> NEW.key
    OR OLD.owner IS NOT NEW.owner
    OR OLD.absolute_deadline IS NOT NEW.absolute_deadline
    OR OLD.idle IS NOT NEW.idle
    OR NEW.expires < OLD.expires
    OR OLD.value <> NEW.value
BEGIN
    INSERT INTO {t}_changes (key) VALUES (OLD.key);
    INSERT INTO {t}_changes (key) SELECT NEW.key WHERE OLD.key <> NEW.key;
END;

-- Expired rows are not reported.
CREATE TRIGGER {t}_push_3 AFTER DELETE ON {t} WHEN OLD.expires > {now} BEGIN
    INSERT INTO {t}_changes (key) VALUES (OLD.key);
END;
