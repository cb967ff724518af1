-- Times are milliseconds since 1970, as CloudWatch Logs has them.
CREATE TABLE logs_groups (
  id INTEGER PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  created INTEGER NOT NULL,
  retention_days INTEGER,
  stored_bytes INTEGER NOT NULL DEFAULT 0,
  tags TEXT NOT NULL DEFAULT '{}',
  UNIQUE (account, region, name)
);
CREATE TABLE logs_streams (
  id INTEGER PRIMARY KEY,
  group_id INTEGER NOT NULL REFERENCES logs_groups (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  created INTEGER NOT NULL,
  first_event INTEGER,
  last_event INTEGER,
  last_ingestion INTEGER,
  UNIQUE (group_id, name)
);
CREATE TABLE logs_events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  group_id INTEGER NOT NULL REFERENCES logs_groups (id) ON DELETE CASCADE,
  stream_id INTEGER NOT NULL REFERENCES logs_streams (id) ON DELETE CASCADE,
  timestamp INTEGER NOT NULL,
  ingested INTEGER NOT NULL,
  message TEXT NOT NULL
);
CREATE INDEX logs_events_by_stream ON logs_events (stream_id, timestamp, id);
CREATE INDEX logs_events_by_group ON logs_events (group_id, timestamp, id);
