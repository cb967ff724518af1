# SPDX-License-Identifier: Apache-2.0
"""AWS's protocols, pure: bytes and values in, values and bytes out."""
