-- Functions, one row each; documents are JSON as the API writes them.
CREATE TABLE lambda_functions (
  arn TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  configuration TEXT NOT NULL,
  code_sha TEXT NOT NULL,
  generation INTEGER NOT NULL DEFAULT 1,
  state TEXT NOT NULL DEFAULT 'Pending',
  update_status TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  reserved INTEGER,
  recursion TEXT NOT NULL DEFAULT 'Terminate',
  statements TEXT NOT NULL DEFAULT '[]',
  policy_revision TEXT NOT NULL DEFAULT '',
  events TEXT NOT NULL DEFAULT '',
  tags TEXT NOT NULL DEFAULT '{}'
);
-- Events that were accepted (202) and are not handled yet.
CREATE TABLE lambda_events (
  id TEXT PRIMARY KEY,
  arn TEXT NOT NULL,
  payload BLOB NOT NULL,
  context TEXT NOT NULL DEFAULT '',
  trace TEXT NOT NULL,
  accepted REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  throttles INTEGER NOT NULL DEFAULT 0,
  due REAL NOT NULL
);
CREATE INDEX lambda_events_due ON lambda_events (arn, due);
