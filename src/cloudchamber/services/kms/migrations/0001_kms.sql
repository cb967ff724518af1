-- Keys (their material is sealed with the chamber's own key) and aliases.
CREATE TABLE kms_keys (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  id TEXT NOT NULL,
  created REAL NOT NULL,
  description TEXT NOT NULL,
  state TEXT NOT NULL,
  deletion REAL,
  policy TEXT NOT NULL,
  tags TEXT NOT NULL,
  manager TEXT NOT NULL,
  material BLOB NOT NULL,
  PRIMARY KEY (account, region, id)
) WITHOUT ROWID;
CREATE TABLE kms_aliases (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  created REAL NOT NULL,
  updated REAL NOT NULL,
  PRIMARY KEY (account, region, name)
) WITHOUT ROWID;
