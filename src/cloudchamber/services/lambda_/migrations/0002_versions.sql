-- Versions: code and configuration as they were published, never changed again.
CREATE TABLE lambda_versions (
  arn TEXT NOT NULL REFERENCES lambda_functions (arn) ON DELETE CASCADE,
  version INTEGER NOT NULL,
  configuration TEXT NOT NULL,
  code_sha TEXT NOT NULL,
  PRIMARY KEY (arn, version)
);
-- Aliases; `weights` is AdditionalVersionWeights.
CREATE TABLE lambda_aliases (
  arn TEXT NOT NULL REFERENCES lambda_functions (arn) ON DELETE CASCADE,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  weights TEXT NOT NULL DEFAULT '{}',
  revision TEXT NOT NULL,
  PRIMARY KEY (arn, name)
);
-- Settings of one version or alias; those of the function itself stand in its own row.
CREATE TABLE lambda_qualifiers (
  arn TEXT NOT NULL REFERENCES lambda_functions (arn) ON DELETE CASCADE,
  qualifier TEXT NOT NULL,
  statements TEXT NOT NULL DEFAULT '[]',
  policy_revision TEXT NOT NULL DEFAULT '',
  events TEXT NOT NULL DEFAULT '',
  provisioned TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (arn, qualifier)
);
CREATE TABLE lambda_layers (
  arn TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  document TEXT NOT NULL,
  code_sha TEXT NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0,
  statements TEXT NOT NULL DEFAULT '[]',
  policy_revision TEXT NOT NULL DEFAULT '',
  UNIQUE (account, region, name, version)
);
CREATE TABLE lambda_urls (
  id TEXT PRIMARY KEY,
  arn TEXT NOT NULL REFERENCES lambda_functions (arn) ON DELETE CASCADE,
  qualifier TEXT NOT NULL DEFAULT '',
  document TEXT NOT NULL,
  UNIQUE (arn, qualifier)
);
ALTER TABLE lambda_functions ADD COLUMN next_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE lambda_events ADD COLUMN qualifier TEXT NOT NULL DEFAULT '';
