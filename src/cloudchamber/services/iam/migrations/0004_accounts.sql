-- More accounts than the first, their organization, and public keys of token issuers that are kept here.
CREATE TABLE iam_accounts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  email TEXT NOT NULL,
  root_key TEXT NOT NULL UNIQUE,
  root_secret TEXT NOT NULL,
  created REAL NOT NULL
);
CREATE TABLE iam_organization (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  source TEXT NOT NULL
);
CREATE TABLE iam_issuer_keys (
  issuer TEXT PRIMARY KEY,
  jwks TEXT NOT NULL
);
CREATE TRIGGER iam_accounts_i AFTER INSERT ON iam_accounts BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_organization_i AFTER INSERT ON iam_organization BEGIN UPDATE iam_change SET number = number + 1; END;
CREATE TRIGGER iam_organization_u AFTER UPDATE ON iam_organization BEGIN UPDATE iam_change SET number = number + 1; END;
