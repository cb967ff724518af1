-- SPDX-License-Identifier: Apache-2.0
ALTER TABLE ec2_instances ADD COLUMN profile_id TEXT NOT NULL DEFAULT '';
