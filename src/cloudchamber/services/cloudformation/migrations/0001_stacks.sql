-- Stacks, what is in them, what happened to them. JSON columns hold values as AWS writes them.
CREATE TABLE cloudformation_stacks (
  stack_id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  settings TEXT NOT NULL,
  template TEXT NOT NULL DEFAULT '',
  processed TEXT NOT NULL DEFAULT '',
  parameters TEXT NOT NULL DEFAULT '{}',
  outputs TEXT NOT NULL DEFAULT '[]',
  previous TEXT NOT NULL DEFAULT '',
  operation TEXT NOT NULL DEFAULT '',
  token TEXT NOT NULL DEFAULT '',
  change_set_id TEXT NOT NULL DEFAULT '',
  created TEXT NOT NULL,
  updated TEXT NOT NULL DEFAULT '',
  deleted TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX cloudformation_stacks_by_name ON cloudformation_stacks (account, region, name) WHERE deleted = '';
CREATE TABLE cloudformation_resources (
  stack_id TEXT NOT NULL REFERENCES cloudformation_stacks (stack_id),
  logical_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  physical_id TEXT NOT NULL DEFAULT '',
  body TEXT NOT NULL,
  previous TEXT NOT NULL DEFAULT '',
  at TEXT NOT NULL,
  PRIMARY KEY (stack_id, logical_id)
);
CREATE TABLE cloudformation_leftovers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stack_id TEXT NOT NULL REFERENCES cloudformation_stacks (stack_id),
  logical_id TEXT NOT NULL,
  type TEXT NOT NULL,
  physical_id TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE TABLE cloudformation_events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  stack_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  logical_id TEXT NOT NULL,
  physical_id TEXT NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  properties TEXT NOT NULL DEFAULT '',
  token TEXT NOT NULL DEFAULT '',
  at TEXT NOT NULL
);
CREATE INDEX cloudformation_events_by_stack ON cloudformation_events (stack_id, seq);
CREATE TABLE cloudformation_exports (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  stack_id TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (account, region, name)
);
CREATE TABLE cloudformation_imports (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  stack_id TEXT NOT NULL,
  PRIMARY KEY (account, region, name, stack_id)
);
CREATE TABLE cloudformation_change_sets (
  change_set_id TEXT PRIMARY KEY,
  stack_id TEXT NOT NULL,
  name TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  execution TEXT NOT NULL,
  body TEXT NOT NULL,
  created TEXT NOT NULL
);
CREATE UNIQUE INDEX cloudformation_change_sets_by_name ON cloudformation_change_sets (stack_id, name);
