# SPDX-License-Identifier: Apache-2.0
"""Host names that services answer by themselves are remembered, and never longer than they hold."""

from __future__ import annotations

from typing import Any

from cloudchamber.front.pipeline import HOST_CACHED_MAX, HOSTS_MAX, Hosts
from cloudchamber.wire.http import Headers, HttpRequest


def find(hosts: Hosts, host: str) -> Any:
    return hosts.find(host, HttpRequest("GET", "/", "", Headers([("Host", host)])))


def test_who_claims_later_is_found_though_the_name_was_asked_for_before():
    hosts, inside = Hosts(), object()
    assert find(hosts, "x.localhost:4566") is None
    hosts.add(lambda host: host == "x.localhost", inside)  # type: ignore[arg-type]
    assert find(hosts, "x.localhost:4566") is inside
    assert find(hosts, "X.localhost") is inside
    assert find(hosts, "y.localhost") is None


def test_names_that_anybody_makes_up_take_no_room():
    hosts = Hosts()
    for number in range(2 * HOSTS_MAX):
        find(hosts, f"h{number}")
    find(hosts, "h" * HOST_CACHED_MAX)
    assert len(hosts._known) <= HOSTS_MAX
    assert all(len(name) < HOST_CACHED_MAX for name in hosts._known)
