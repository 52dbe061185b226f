-- Times are microseconds since 1970-01-01 UTC.

-- One row a host that was ever asked.
CREATE TABLE hosts (
    host          TEXT    NOT NULL PRIMARY KEY,
    -- nobody asks before; set by the host's own wish
    not_before_us INTEGER,
    -- the earliest time of the next start; keeps starts apart
    next_start_us INTEGER
) STRICT, WITHOUT ROWID;

-- One row a slot that is out. Expired ones are removed when their host is asked next.
CREATE TABLE host_slots (
    id       TEXT    NOT NULL PRIMARY KEY,
    host     TEXT    NOT NULL,
    owner    TEXT    NOT NULL,
    until_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX host_slots_by_host ON host_slots (host, until_us);
-- For giving back what a dead process held.
CREATE INDEX host_slots_by_owner ON host_slots (owner);
