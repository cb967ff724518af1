# SPDX-License-Identifier: Apache-2.0
"""The project's own tools, for those who work on it."""
