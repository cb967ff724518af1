-- Storage classes: `storage` is NULL for STANDARD. `s3_restores` says what becomes of restored copies, and when: each row is
-- one event that is due at `at` (POSIX seconds).
ALTER TABLE s3_objects ADD COLUMN storage TEXT;
ALTER TABLE s3_versions ADD COLUMN storage TEXT;
CREATE TABLE s3_restores (
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  version TEXT NOT NULL,
  event TEXT NOT NULL,
  at REAL NOT NULL,
  PRIMARY KEY (bucket, key, version, event)
);
CREATE INDEX s3_restores_by_time ON s3_restores (at);
