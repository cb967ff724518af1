-- What S3 is told of a whole account: its public access block, as JSON.
CREATE TABLE s3_accounts (
  account TEXT PRIMARY KEY,
  block TEXT
);
