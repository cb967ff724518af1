-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE ec2_launch_templates (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  created REAL NOT NULL,
  created_by TEXT NOT NULL,
  default_version INTEGER NOT NULL,
  latest_version INTEGER NOT NULL,
  client_token TEXT NOT NULL,
  UNIQUE (account, region, name)
);
CREATE TABLE ec2_launch_template_versions (
  template_id TEXT NOT NULL REFERENCES ec2_launch_templates (id) ON DELETE CASCADE,
  version INTEGER NOT NULL,
  description TEXT NOT NULL,
  created REAL NOT NULL,
  created_by TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (template_id, version)
);
