# SPDX-License-Identifier: Apache-2.0
"""Tests of the services that hold for one machine only, and why: `--form cluster` skips them."""

from __future__ import annotations

_RECORDED = "tests/services/s3/test_recorded.py"
_FUNCTIONS = "chambers that share their state offer no Lambda"
_STACKS = "they offer no CloudFormation"
_FILES = "the test reads the files of the state folder"
_OTHERS = "the test calls services that they do not offer"

ALONE = {
    "tests/services/s3/test_buckets.py::test_notifications_are_validated": _FUNCTIONS,
    "tests/services/s3/test_notifications.py::test_events_reach_the_function": _FUNCTIONS,
    "tests/services/s3/test_encryption.py::test_what_is_large_is_encrypted_where_it_is_asked_for": _FILES,
    "tests/services/s3/test_encryption.py::test_a_chamber_may_encrypt_all": _FILES,
    "tests/services/s3/test_lifecycle.py::test_days_pass": _FILES,
    "tests/services/s3/test_kept.py::test_logs_are_written_where": "another chamber leads, and that one delivers",
    "tests/services/s3/test_storage.py::test_a_restored_copy_comes_and_goes": _FILES,
    "tests/services/s3/test_storage.py::test_rules_move_objects_down": _FILES,
    "tests/services/s3/test_storage.py::test_small_objects_go_into_archives": _FILES,
    "tests/services/s3/test_storage_events.py::test_a_function_hears": _FUNCTIONS,
    f"{_RECORDED}::test_destinations_of_notifications_are_checked_unless_that_is_skipped[Lambda": _FUNCTIONS,
    "tests/services/s3/test_stack_access.py": _STACKS,
    "tests/services/s3/test_stacks.py": _STACKS,
    "tests/services/iam/test_last_accessed.py::test_a_report_by_action": _OTHERS,
    "tests/services/iam/test_last_accessed.py::test_a_report_about_a_group": _OTHERS,
    "tests/services/iam/test_provider_resources.py": _STACKS,
    "tests/services/sts/test_federation.py::test_a_federated_user_may_do_what_both_allow": _OTHERS,
}
