-- Secrets and their versions; values are sealed.
CREATE TABLE secretsmanager_secrets (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  arn TEXT NOT NULL UNIQUE,
  created REAL NOT NULL,
  purge_at REAL NOT NULL DEFAULT 0,
  body TEXT NOT NULL,
  PRIMARY KEY (account, region, name)
);
CREATE TABLE secretsmanager_versions (
  arn TEXT NOT NULL REFERENCES secretsmanager_secrets (arn) ON DELETE CASCADE,
  version_id TEXT NOT NULL,
  created REAL NOT NULL,
  stages TEXT NOT NULL,
  kind TEXT NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (arn, version_id)
);
