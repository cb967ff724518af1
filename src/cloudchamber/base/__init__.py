# SPDX-License-Identifier: Apache-2.0
"""Words that everybody uses; standard library only."""
