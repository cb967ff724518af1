# SPDX-License-Identifier: Apache-2.0
"""AWS's core as one wired system on your own machine."""

__version__ = "0.1.0"
