-- SPDX-License-Identifier: Apache-2.0
CREATE TABLE ec2_instances (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  reservation_id TEXT NOT NULL,
  launch_index INTEGER NOT NULL,
  client_token TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL,
  reason_code TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  transition TEXT NOT NULL DEFAULT '',
  launched_at REAL NOT NULL,
  started_at REAL NOT NULL,
  ended_at REAL NOT NULL DEFAULT 0,
  rebooting INTEGER NOT NULL DEFAULT 0,
  boots INTEGER NOT NULL DEFAULT 0,
  image_id TEXT NOT NULL,
  type TEXT NOT NULL,
  zone TEXT NOT NULL,
  subnet_id TEXT NOT NULL,
  private_ip TEXT NOT NULL,
  eni_id TEXT NOT NULL,
  groups TEXT NOT NULL,
  profile_arn TEXT NOT NULL DEFAULT '',
  association_id TEXT NOT NULL DEFAULT '',
  associated_at REAL NOT NULL DEFAULT 0,
  user_data BLOB NOT NULL DEFAULT x'',
  terminate_protection INTEGER NOT NULL DEFAULT 0,
  stop_protection INTEGER NOT NULL DEFAULT 0,
  shutdown_behavior TEXT NOT NULL DEFAULT 'stop',
  http_tokens TEXT NOT NULL DEFAULT 'required',
  http_endpoint TEXT NOT NULL DEFAULT 'enabled',
  hop_limit INTEGER NOT NULL DEFAULT 2,
  metadata_tags TEXT NOT NULL DEFAULT 'disabled'
);
CREATE UNIQUE INDEX ec2_private_ip ON ec2_instances (account, region, private_ip) WHERE state != 'terminated';
CREATE TABLE ec2_tokens (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  token TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  reservation_id TEXT NOT NULL,
  PRIMARY KEY (account, region, token)
);
CREATE TABLE ec2_tags (
  resource_id TEXT NOT NULL,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (resource_id, key)
);
CREATE TABLE ec2_groups (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  UNIQUE (account, region, name)
);
CREATE TABLE ec2_rules (
  id TEXT PRIMARY KEY,
  group_id TEXT NOT NULL REFERENCES ec2_groups (id) ON DELETE CASCADE,
  egress INTEGER NOT NULL,
  protocol TEXT NOT NULL,
  port_from INTEGER NOT NULL,
  port_to INTEGER NOT NULL,
  cidr TEXT NOT NULL,
  peer_group TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  UNIQUE (group_id, egress, protocol, port_from, port_to, cidr, peer_group)
);
