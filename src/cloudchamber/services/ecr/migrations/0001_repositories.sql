-- Repositories; `body` holds settings and tags as JSON, `policy` and `lifecycle` the texts as they were given.
CREATE TABLE ecr_repositories (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  created REAL NOT NULL,
  body TEXT NOT NULL,
  policy TEXT NOT NULL DEFAULT '',
  lifecycle TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (account, region, name)
);
