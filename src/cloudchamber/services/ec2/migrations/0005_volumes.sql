-- SPDX-License-Identifier: Apache-2.0
-- Volumes, snapshots and images. A volume is attached to one instance, or (`instance_id` empty) to none.
CREATE TABLE ec2_volumes (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  zone TEXT NOT NULL,
  size_gib INTEGER NOT NULL,
  type TEXT NOT NULL,
  iops INTEGER NOT NULL DEFAULT 0,
  throughput INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL,
  created REAL NOT NULL,
  snapshot_id TEXT NOT NULL DEFAULT '',
  client_token TEXT NOT NULL DEFAULT '',
  instance_id TEXT NOT NULL DEFAULT '',
  device TEXT NOT NULL DEFAULT '',
  attachment TEXT NOT NULL DEFAULT '',
  attached REAL NOT NULL DEFAULT 0,
  delete_on_termination INTEGER NOT NULL DEFAULT 0,
  modification TEXT NOT NULL DEFAULT ''
);
CREATE INDEX ec2_volumes_by_instance ON ec2_volumes (instance_id);
CREATE UNIQUE INDEX ec2_volumes_by_device ON ec2_volumes (instance_id, device) WHERE instance_id != '';
CREATE TABLE ec2_snapshots (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  volume_id TEXT NOT NULL,
  size_gib INTEGER NOT NULL,
  description TEXT NOT NULL,
  state TEXT NOT NULL,
  progress INTEGER NOT NULL DEFAULT 0,
  started REAL NOT NULL,
  completed REAL NOT NULL DEFAULT 0,
  message TEXT NOT NULL DEFAULT '',
  source TEXT NOT NULL DEFAULT '',
  at_reboot INTEGER NOT NULL DEFAULT 0,
  octets INTEGER NOT NULL DEFAULT 0,
  shared TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX ec2_snapshots_by_volume ON ec2_snapshots (volume_id);
CREATE TABLE ec2_images (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  architecture TEXT NOT NULL,
  created REAL NOT NULL,
  root_device TEXT NOT NULL,
  mappings TEXT NOT NULL,
  shared TEXT NOT NULL DEFAULT '[]',
  source_instance TEXT NOT NULL DEFAULT '',
  source_image TEXT NOT NULL DEFAULT '',
  source_region TEXT NOT NULL DEFAULT '',
  imds TEXT NOT NULL DEFAULT '',
  UNIQUE (account, region, name)
);
-- Instances from before volumes were rows: each has its root.
INSERT INTO ec2_volumes (id, account, region, zone, size_gib, type, iops, throughput, state, created, instance_id, device, attachment, attached, delete_on_termination) SELECT 'vol-' || substr(id, 3), account, region, zone, 8, 'gp3', 3000, 125, 'in-use', launched_at, id, '/dev/xvda', 'attached', launched_at, 1 FROM ec2_instances WHERE state != 'terminated';
