-- Requests to the functions of custom resources: what is awaited, until when, and what was answered.
CREATE TABLE cloudformation_answers (
  request_id TEXT PRIMARY KEY,
  stack_id TEXT NOT NULL,
  logical_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  secret TEXT NOT NULL,
  expires REAL NOT NULL,
  answer TEXT NOT NULL DEFAULT ''
);
CREATE INDEX cloudformation_answers_by_resource ON cloudformation_answers (stack_id, logical_id);
