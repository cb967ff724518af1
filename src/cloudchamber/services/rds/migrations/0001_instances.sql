-- DB instances, their tags, and what happened to them.
CREATE TABLE rds_instances (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  resource_id TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL,
  address TEXT NOT NULL,
  port INTEGER NOT NULL,
  created REAL NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (account, region, name)
);
CREATE UNIQUE INDEX rds_instances_by_endpoint ON rds_instances (address, port);
CREATE TABLE rds_tags (
  arn TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (arn, key)
);
CREATE TABLE rds_events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  source TEXT NOT NULL,
  arn TEXT NOT NULL,
  at REAL NOT NULL,
  category TEXT NOT NULL,
  message TEXT NOT NULL
);
CREATE INDEX rds_events_by_source ON rds_events (account, region, source, at);
