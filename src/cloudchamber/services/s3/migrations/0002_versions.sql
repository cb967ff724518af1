-- Versions of objects. The newest version of a key stands in s3_objects, unless it is a delete marker; all others, and
-- all delete markers, stand in s3_versions, the newest first. `seq` only grows within a key. Objects of before have the
-- version `null`. `lock` is JSON of retention and legal hold, `replication` the state of it.
ALTER TABLE s3_buckets ADD COLUMN versioning TEXT NOT NULL DEFAULT '';
ALTER TABLE s3_buckets ADD COLUMN object_lock TEXT;
ALTER TABLE s3_buckets ADD COLUMN lifecycle TEXT;
ALTER TABLE s3_buckets ADD COLUMN replication TEXT;
ALTER TABLE s3_objects ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE s3_objects ADD COLUMN version TEXT NOT NULL DEFAULT 'null';
ALTER TABLE s3_objects ADD COLUMN lock TEXT;
ALTER TABLE s3_objects ADD COLUMN replication TEXT;
CREATE TABLE s3_versions (
  bucket TEXT NOT NULL REFERENCES s3_buckets (name),
  key TEXT NOT NULL,
  seq INTEGER NOT NULL,
  version TEXT NOT NULL,
  marker INTEGER NOT NULL,
  size INTEGER NOT NULL,
  etag TEXT NOT NULL,
  modified INTEGER NOT NULL,
  checksum TEXT NOT NULL DEFAULT '',
  body INTEGER,
  blob TEXT,
  tags TEXT,
  stored TEXT NOT NULL,
  lock TEXT,
  replication TEXT,
  PRIMARY KEY (bucket, key, seq DESC)
) WITHOUT ROWID;
CREATE UNIQUE INDEX s3_versions_null ON s3_versions (bucket, key) WHERE version = 'null';
CREATE INDEX s3_versions_by_blob ON s3_versions (blob) WHERE blob IS NOT NULL;
