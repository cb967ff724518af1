-- Parameters of the account's own: the current version of each.
CREATE TABLE ssm_parameters (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  description TEXT NOT NULL,
  version INTEGER NOT NULL,
  modified REAL NOT NULL,
  tags TEXT NOT NULL,
  PRIMARY KEY (account, region, name)
);
