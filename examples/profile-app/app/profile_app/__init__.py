# SPDX-License-Identifier: Apache-2.0
"""Members with pictures and posts: an app for one EC2 instance, one RDS database, one S3 bucket and one role."""
