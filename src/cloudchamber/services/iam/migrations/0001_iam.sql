CREATE TABLE iam_entities (
  account TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL COLLATE NOCASE,
  path TEXT NOT NULL,
  id TEXT NOT NULL,
  arn TEXT NOT NULL,
  created REAL NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  trust TEXT NOT NULL DEFAULT '',
  session_s INTEGER NOT NULL DEFAULT 3600,
  boundary TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (account, kind, name)
);
CREATE INDEX iam_entities_by_arn ON iam_entities (arn);
CREATE TABLE iam_inline (
  account TEXT NOT NULL,
  kind TEXT NOT NULL,
  entity TEXT NOT NULL COLLATE NOCASE,
  name TEXT NOT NULL COLLATE NOCASE,
  document TEXT NOT NULL,
  PRIMARY KEY (account, kind, entity, name)
);
CREATE TABLE iam_attached (
  account TEXT NOT NULL,
  kind TEXT NOT NULL,
  entity TEXT NOT NULL COLLATE NOCASE,
  arn TEXT NOT NULL,
  PRIMARY KEY (account, kind, entity, arn)
);
CREATE INDEX iam_attached_by_arn ON iam_attached (arn);
CREATE TABLE iam_policies (
  account TEXT NOT NULL,
  name TEXT NOT NULL COLLATE NOCASE,
  path TEXT NOT NULL,
  id TEXT NOT NULL,
  arn TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL DEFAULT '',
  created REAL NOT NULL,
  updated REAL NOT NULL,
  default_version INTEGER NOT NULL,
  latest_version INTEGER NOT NULL,
  PRIMARY KEY (account, name)
);
CREATE TABLE iam_versions (
  arn TEXT NOT NULL,
  version INTEGER NOT NULL,
  document TEXT NOT NULL,
  created REAL NOT NULL,
  PRIMARY KEY (arn, version)
);
CREATE TABLE iam_members (
  account TEXT NOT NULL,
  member TEXT NOT NULL COLLATE NOCASE,
  collection TEXT NOT NULL COLLATE NOCASE,
  kind TEXT NOT NULL,
  PRIMARY KEY (account, kind, collection, member)
);
CREATE INDEX iam_members_by_member ON iam_members (account, kind, member);
CREATE TABLE iam_keys (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  user TEXT NOT NULL COLLATE NOCASE,
  secret TEXT NOT NULL,
  status TEXT NOT NULL,
  created REAL NOT NULL
);
CREATE INDEX iam_keys_by_user ON iam_keys (account, user);
CREATE TABLE iam_tags (
  arn TEXT NOT NULL,
  key TEXT NOT NULL COLLATE NOCASE,
  value TEXT NOT NULL,
  PRIMARY KEY (arn, key)
);
CREATE TABLE iam_change (number INTEGER NOT NULL);
INSERT INTO iam_change VALUES (1);
CREATE TRIGGER iam_entities_i AFTER INSERT ON iam_entities BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_entities_u AFTER UPDATE ON iam_entities BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_entities_d AFTER DELETE ON iam_entities BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_inline_i AFTER INSERT ON iam_inline BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_inline_u AFTER UPDATE ON iam_inline BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_inline_d AFTER DELETE ON iam_inline BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_attached_i AFTER INSERT ON iam_attached BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_attached_d AFTER DELETE ON iam_attached BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_policies_u AFTER UPDATE ON iam_policies BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_members_i AFTER INSERT ON iam_members BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_members_d AFTER DELETE ON iam_members BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_keys_i AFTER INSERT ON iam_keys BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_keys_u AFTER UPDATE ON iam_keys BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_keys_d AFTER DELETE ON iam_keys BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_tags_i AFTER INSERT ON iam_tags BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_tags_u AFTER UPDATE ON iam_tags BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_tags_d AFTER DELETE ON iam_tags BEGIN UPDATE iam_change SET number = number + 1; END;
