-- What a scrub found to be wrong: where the octets were (a blob, or a row of s3_bodies), what they should have been.
CREATE TABLE s3_quarantine (
  id TEXT PRIMARY KEY,
  found REAL NOT NULL,
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  version TEXT NOT NULL,
  place TEXT NOT NULL,
  wrong TEXT NOT NULL,
  expected TEXT NOT NULL,
  actual TEXT NOT NULL
) WITHOUT ROWID;
-- One row: the same word as in the file `s3/identity`. Blobs of another database are not swept.
CREATE TABLE s3_identity (
  word TEXT PRIMARY KEY
) WITHOUT ROWID;
