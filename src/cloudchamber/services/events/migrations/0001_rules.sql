-- Rules; `due` is the POSIX time of the next run, NULL for a rule that is disabled or never runs again.
CREATE TABLE events_rules (
  arn TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  schedule TEXT NOT NULL,
  targets TEXT NOT NULL DEFAULT '[]',
  tags TEXT NOT NULL DEFAULT '{}',
  due REAL
);
CREATE INDEX events_rules_due ON events_rules (due);
