-- SPDX-License-Identifier: Apache-2.0
ALTER TABLE ec2_instances ADD COLUMN ebs_optimized INTEGER NOT NULL DEFAULT 0;
CREATE TABLE ec2_metadata_defaults (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  options TEXT NOT NULL,
  PRIMARY KEY (account, region)
);
