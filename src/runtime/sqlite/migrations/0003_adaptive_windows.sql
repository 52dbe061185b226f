-- What a host showed of its limit, as one JSON object: it is read and written whole, in one step, and
-- its fields belong to the algorithm. Rests that are on stay on.
ALTER TABLE hosts ADD COLUMN state TEXT NOT NULL DEFAULT '{}';

UPDATE hosts SET state = json_object(
    'rest', json_object('not_before', not_before_us),
    'spacing', json_object('next_start', next_start_us)
);

ALTER TABLE hosts DROP COLUMN not_before_us;
ALTER TABLE hosts DROP COLUMN next_start_us;

-- A request to a host that only redirects: a start, and no transfer's slot.
ALTER TABLE host_slots ADD COLUMN is_hop INTEGER NOT NULL DEFAULT 0;
