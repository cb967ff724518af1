-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE ec2_key_pairs (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  public_key TEXT NOT NULL,
  created REAL NOT NULL,
  UNIQUE (account, region, name)
);
ALTER TABLE ec2_instances ADD COLUMN key_name TEXT NOT NULL DEFAULT '';
ALTER TABLE ec2_instances ADD COLUMN public_key TEXT NOT NULL DEFAULT '';
ALTER TABLE ec2_instances ADD COLUMN auto_recovery TEXT NOT NULL DEFAULT 'default';
