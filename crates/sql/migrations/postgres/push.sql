-- A row was inserted, or changed by more than a later deadline.
CREATE OR REPLACE FUNCTION {t}_push_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.key <> NEW.key THEN
        PERFORM pg_notify('{t}_changes', encode(OLD.key, 'hex'));
    END IF;
    PERFORM pg_notify('{t}_changes', encode(NEW.key, 'hex'));
    RETURN NULL;
END $$;

-- Rows were removed. Expired rows are not reported; more than 1,000 are reported as `all`.
CREATE OR REPLACE FUNCTION {t}_push_gone() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    keys text[];
BEGIN
    IF TG_OP = 'DELETE' THEN
        keys := ARRAY(SELECT encode(key, 'hex') FROM gone WHERE expires > {now} LIMIT 1001);
        IF cardinality(keys) <= 1000 THEN
            PERFORM pg_notify('{t}_changes', gone_key) FROM unnest(keys) gone_key;
            RETURN NULL;
        END IF;
    END IF;
    PERFORM pg_notify('{t}_changes', 'all');
    RETURN NULL;
END $$;

CREATE TRIGGER {t}_push_1 AFTER INSERT ON {t}
    FOR EACH ROW EXECUTE FUNCTION {t}_push_row();

CREATE TRIGGER {t}_push_2 AFTER UPDATE ON {t}
    FOR EACH ROW WHEN (
        OLD.version <> NEW.version OR OLD.key <> NEW.key
        OR OLD.owner IS DISTINCT FROM NEW.owner
        OR OLD.absolute_deadline IS DISTINCT FROM NEW.absolute_deadline
        OR OLD.idle IS DISTINCT FROM NEW.idle
        OR NEW.expires < OLD.expires
        OR OLD.value IS DISTINCT FROM NEW.value
    )
    EXECUTE FUNCTION {t}_push_row();

CREATE TRIGGER {t}_push_3 AFTER DELETE ON {t}
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {t}_push_gone();

CREATE TRIGGER {t}_push_4 AFTER TRUNCATE ON {t}
    FOR EACH STATEMENT EXECUTE FUNCTION {t}_push_gone();

-- Also in sessions with `session_replication_role = replica`.
ALTER TABLE {t} ENABLE ALWAYS TRIGGER {t}_push_1;
ALTER TABLE {t} ENABLE ALWAYS TRIGGER {t}_push_2;
ALTER TABLE {t} ENABLE ALWAYS TRIGGER {t}_push_3;
ALTER TABLE {t} ENABLE ALWAYS TRIGGER {t}_push_4;
