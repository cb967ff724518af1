-- Identity providers outside of AWS: OpenID Connect and SAML. Lists are JSON.
CREATE TABLE iam_oidc (
  arn TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  url TEXT NOT NULL,
  client_ids TEXT NOT NULL,
  thumbprints TEXT NOT NULL,
  created REAL NOT NULL
);
CREATE INDEX iam_oidc_by_account ON iam_oidc (account, arn);
CREATE TABLE iam_saml (
  arn TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  id TEXT NOT NULL,
  document TEXT NOT NULL,
  created REAL NOT NULL,
  valid_until REAL NOT NULL,
  encryption TEXT NOT NULL,
  private_keys TEXT NOT NULL
);
CREATE INDEX iam_saml_by_account ON iam_saml (account, arn);
