# SPDX-License-Identifier: Apache-2.0
"""What survives: database, migrations, blobs, outbox."""
