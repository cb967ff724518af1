-- Deletions of service-linked roles, and reports of what was last accessed. `body` is JSON.
CREATE TABLE iam_deletions (
  task TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  done REAL NOT NULL
);
CREATE TABLE iam_access_reports (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  owner TEXT NOT NULL,
  created REAL NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX iam_access_reports_by_age ON iam_access_reports (created);
