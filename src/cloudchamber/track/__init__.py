# SPDX-License-Identifier: Apache-2.0
"""What happened: tracks of requests."""
