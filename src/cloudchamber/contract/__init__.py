# SPDX-License-Identifier: Apache-2.0
"""What a service is."""
