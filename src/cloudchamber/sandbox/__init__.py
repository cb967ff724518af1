# SPDX-License-Identifier: Apache-2.0
"""Processes behind walls: EC2 instances and Lambda environments."""
