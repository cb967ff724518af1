-- Buckets with their configuration; objects; bodies of small objects; uploads and their parts.
CREATE TABLE s3_buckets (
  name TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  created REAL NOT NULL,
  ownership TEXT NOT NULL DEFAULT 'BucketOwnerEnforced',
  policy TEXT,
  tags TEXT,
  public_access_block TEXT,
  encryption TEXT,
  notification TEXT
) WITHOUT ROWID;
CREATE TABLE s3_bodies (
  id INTEGER PRIMARY KEY,
  data BLOB NOT NULL
);
-- `stored` is JSON of what only GET and HEAD need: headers, metadata, checksum, parts, encryption.
CREATE TABLE s3_objects (
  bucket TEXT NOT NULL REFERENCES s3_buckets (name),
  key TEXT NOT NULL,
  size INTEGER NOT NULL,
  etag TEXT NOT NULL,
  modified INTEGER NOT NULL,
  checksum TEXT NOT NULL DEFAULT '',
  body INTEGER,
  blob TEXT,
  tags TEXT,
  stored TEXT NOT NULL,
  PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE INDEX s3_objects_by_blob ON s3_objects (blob) WHERE blob IS NOT NULL;
CREATE TABLE s3_uploads (
  id TEXT PRIMARY KEY,
  bucket TEXT NOT NULL REFERENCES s3_buckets (name),
  key TEXT NOT NULL,
  initiated REAL NOT NULL,
  initiator TEXT NOT NULL,
  checksum_algorithm TEXT NOT NULL,
  checksum_type TEXT NOT NULL,
  tags TEXT,
  stored TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX s3_uploads_by_key ON s3_uploads (bucket, key, id);
CREATE TABLE s3_parts (
  upload TEXT NOT NULL REFERENCES s3_uploads (id),
  number INTEGER NOT NULL,
  size INTEGER NOT NULL,
  etag TEXT NOT NULL,
  modified INTEGER NOT NULL,
  checksum TEXT NOT NULL,
  blob TEXT NOT NULL,
  nonce TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE INDEX s3_parts_by_blob ON s3_parts (blob);
