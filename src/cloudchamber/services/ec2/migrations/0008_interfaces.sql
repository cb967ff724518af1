-- SPDX-License-Identifier: Apache-2.0
ALTER TABLE ec2_instances ADD COLUMN interface_description TEXT NOT NULL DEFAULT '';
