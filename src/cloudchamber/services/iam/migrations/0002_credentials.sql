-- what users sign in with, beside access keys; and the account's own settings
CREATE TABLE iam_logins (
  account TEXT NOT NULL,
  user TEXT NOT NULL COLLATE NOCASE,
  hash TEXT NOT NULL,
  created REAL NOT NULL,
  changed REAL NOT NULL,
  reset INTEGER NOT NULL,
  PRIMARY KEY (account, user)
);
CREATE TABLE iam_old_passwords (
  account TEXT NOT NULL,
  user TEXT NOT NULL COLLATE NOCASE,
  hash TEXT NOT NULL,
  retired REAL NOT NULL
);
CREATE INDEX iam_old_passwords_by_user ON iam_old_passwords (account, user);
CREATE TABLE iam_password_policies (
  account TEXT PRIMARY KEY,
  document TEXT NOT NULL
);
CREATE TABLE iam_aliases (
  alias TEXT PRIMARY KEY,
  account TEXT NOT NULL UNIQUE
);
CREATE TABLE iam_mfa (
  serial TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  name TEXT NOT NULL COLLATE NOCASE,
  path TEXT NOT NULL,
  seed BLOB NOT NULL,
  created REAL NOT NULL,
  user TEXT NOT NULL DEFAULT '' COLLATE NOCASE,
  enabled REAL NOT NULL DEFAULT 0,
  drift INTEGER NOT NULL DEFAULT 0,
  last_step INTEGER NOT NULL DEFAULT -1
);
CREATE INDEX iam_mfa_by_user ON iam_mfa (account, user);
CREATE TABLE iam_credentials (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  user TEXT NOT NULL COLLATE NOCASE,
  kind TEXT NOT NULL,
  status TEXT NOT NULL,
  created REAL NOT NULL,
  body TEXT NOT NULL,
  print TEXT NOT NULL DEFAULT '',
  service TEXT NOT NULL DEFAULT '',
  alias TEXT NOT NULL DEFAULT '',
  expires REAL NOT NULL DEFAULT 0
);
CREATE INDEX iam_credentials_by_user ON iam_credentials (account, user, kind);
CREATE TABLE iam_server_certificates (
  account TEXT NOT NULL,
  name TEXT NOT NULL COLLATE NOCASE,
  path TEXT NOT NULL,
  id TEXT NOT NULL,
  arn TEXT NOT NULL UNIQUE,
  uploaded REAL NOT NULL,
  expires REAL NOT NULL,
  body TEXT NOT NULL,
  chain TEXT NOT NULL,
  private_key TEXT NOT NULL,
  PRIMARY KEY (account, name)
);
CREATE TABLE iam_reports (
  account TEXT PRIMARY KEY,
  made REAL NOT NULL,
  content TEXT NOT NULL
);
CREATE TRIGGER iam_password_policies_i AFTER INSERT ON iam_password_policies BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_password_policies_u AFTER UPDATE ON iam_password_policies BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_password_policies_d AFTER DELETE ON iam_password_policies BEGIN UPDATE iam_change SET number = number + 1; END;
