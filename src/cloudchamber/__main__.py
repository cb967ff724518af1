# SPDX-License-Identifier: Apache-2.0
"""`python -m cloudchamber`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from cloudchamber.cli import main as run

    run()


if __name__ == "__main__":
    main()
