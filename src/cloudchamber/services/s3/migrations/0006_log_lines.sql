-- Lines of access logs that wait to be delivered.
CREATE TABLE s3_log_lines (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  bucket TEXT NOT NULL,
  at REAL NOT NULL,
  line BLOB NOT NULL
);
CREATE INDEX s3_log_lines_by_bucket ON s3_log_lines (bucket, id);
