-- Times are microseconds since 1970-01-01 UTC.

-- One row a message; a settled one is deleted, a dead one stays.
CREATE TABLE messages (
    id          INTEGER PRIMARY KEY,
    queue       TEXT    NOT NULL,
    dedup_id    TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('queued', 'leased', 'dead')),
    -- queued: deliverable from then on; leased: end of the lease; dead: time of death
    visible_us  INTEGER NOT NULL,
    deliveries  INTEGER NOT NULL DEFAULT 0,
    -- of the running delivery
    receipt     TEXT,
    owner       TEXT,
    dead_reason TEXT,
    UNIQUE (queue, dedup_id)
) STRICT;

-- Serves receiving and, as it covers the query, counting.
CREATE INDEX messages_by_state ON messages (queue, state, visible_us);
CREATE UNIQUE INDEX messages_by_receipt ON messages (receipt) WHERE receipt IS NOT NULL;

CREATE TABLE checkpoints (
    stage           TEXT    NOT NULL,
    feed_slug       TEXT    NOT NULL,
    guid            TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    failures        INTEGER NOT NULL,
    token           INTEGER NOT NULL,
    owner           TEXT,
    until_us        INTEGER,
    failure_class   TEXT,
    failure_message TEXT,
    updated_us      INTEGER NOT NULL,
    PRIMARY KEY (stage, feed_slug, guid)
) STRICT, WITHOUT ROWID;

-- For giving back what a dead process held.
CREATE INDEX checkpoints_by_owner ON checkpoints (owner) WHERE state = 'leased';

-- One row an hour, name, dimension and unit: sums, not data points, so that the table stays small.
CREATE TABLE metrics (
    hour_us   INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    dimension TEXT    NOT NULL,
    value     TEXT    NOT NULL,
    unit      TEXT    NOT NULL,
    count     INTEGER NOT NULL,
    sum       REAL    NOT NULL,
    PRIMARY KEY (hour_us, name, dimension, value, unit)
) STRICT, WITHOUT ROWID;
