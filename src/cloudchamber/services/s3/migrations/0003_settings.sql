-- Configurations of buckets, each kept by its name as JSON: ACL, CORS, website, logging, inventories and their like.
CREATE TABLE s3_settings (
  bucket TEXT NOT NULL REFERENCES s3_buckets (name) ON DELETE CASCADE,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (bucket, name)
) WITHOUT ROWID;
