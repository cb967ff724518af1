-- SPDX-License-Identifier: Apache-2.0
-- Networks: what was the one default VPC becomes rows; security groups belong to a VPC.
ALTER TABLE ec2_instances ADD COLUMN vpc_id TEXT NOT NULL DEFAULT '';
ALTER TABLE ec2_instances ADD COLUMN public_ip TEXT NOT NULL DEFAULT '127.0.0.1';
DROP INDEX ec2_private_ip;
CREATE UNIQUE INDEX ec2_private_ip ON ec2_instances (account, region, subnet_id, private_ip) WHERE state != 'terminated';
CREATE TABLE ec2_security_groups (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  vpc_id TEXT NOT NULL DEFAULT '',
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  UNIQUE (account, region, vpc_id, name)
);
CREATE TABLE ec2_security_group_rules (
  id TEXT PRIMARY KEY,
  group_id TEXT NOT NULL REFERENCES ec2_security_groups (id) ON DELETE CASCADE,
  egress INTEGER NOT NULL,
  protocol TEXT NOT NULL,
  port_from INTEGER NOT NULL,
  port_to INTEGER NOT NULL,
  cidr TEXT NOT NULL,
  peer_group TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  UNIQUE (group_id, egress, protocol, port_from, port_to, cidr, peer_group)
);
INSERT INTO ec2_security_groups (id, account, region, name, description) SELECT id, account, region, name, description FROM ec2_groups;
INSERT INTO ec2_security_group_rules SELECT * FROM ec2_rules;
DROP TABLE ec2_rules;
DROP TABLE ec2_groups;
CREATE TABLE ec2_defaults (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  PRIMARY KEY (account, region)
);
CREATE TABLE ec2_vpcs (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  cidr TEXT NOT NULL,
  is_default INTEGER NOT NULL,
  dns_support INTEGER NOT NULL DEFAULT 1,
  dns_hostnames INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE ec2_subnets (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  vpc_id TEXT NOT NULL REFERENCES ec2_vpcs (id),
  cidr TEXT NOT NULL,
  zone TEXT NOT NULL,
  is_default INTEGER NOT NULL,
  public_on_launch INTEGER NOT NULL
);
CREATE INDEX ec2_subnets_by_vpc ON ec2_subnets (vpc_id);
CREATE TABLE ec2_route_tables (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  vpc_id TEXT NOT NULL REFERENCES ec2_vpcs (id)
);
CREATE TABLE ec2_routes (
  table_id TEXT NOT NULL REFERENCES ec2_route_tables (id) ON DELETE CASCADE,
  cidr TEXT NOT NULL,
  target TEXT NOT NULL,
  PRIMARY KEY (table_id, cidr)
);
-- A table's association with a subnet, or, without one, as the main table of its VPC.
CREATE TABLE ec2_route_associations (
  id TEXT PRIMARY KEY,
  table_id TEXT NOT NULL REFERENCES ec2_route_tables (id),
  vpc_id TEXT NOT NULL,
  subnet_id TEXT NOT NULL,
  UNIQUE (vpc_id, subnet_id)
);
CREATE TABLE ec2_internet_gateways (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  vpc_id TEXT NOT NULL
);
CREATE TABLE ec2_nat_gateways (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  vpc_id TEXT NOT NULL,
  subnet_id TEXT NOT NULL,
  allocation_id TEXT NOT NULL,
  private_ip TEXT NOT NULL,
  connectivity TEXT NOT NULL,
  client_token TEXT NOT NULL,
  created REAL NOT NULL,
  deleted REAL NOT NULL DEFAULT 0
);
-- An Elastic IP address; it is used by an instance or by a NAT gateway, or by nobody.
CREATE TABLE ec2_addresses (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  ip TEXT NOT NULL UNIQUE,
  association_id TEXT NOT NULL DEFAULT '',
  instance_id TEXT NOT NULL DEFAULT '',
  nat_gateway_id TEXT NOT NULL DEFAULT ''
);
