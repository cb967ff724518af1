# SPDX-License-Identifier: Apache-2.0
"""`python -m profile_app`: prepare the database, then serve."""

from __future__ import annotations

import logging

import uvicorn

from profile_app.bootstrap import prepare
from profile_app.database import open_engine
from profile_app.main import make_app
from profile_app.settings import from_environment


def main() -> None:
    """Run the app on the port that the load balancer or browser reaches."""
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s %(message)s")
    settings = from_environment()
    engine = open_engine(settings)
    prepare(engine, settings)
    # Why all addresses: only the security group's port 80 leads here, from whatever stands before the instance.
    uvicorn.run(
        make_app(settings, engine), host="0.0.0.0", port=settings.port, proxy_headers=True, forwarded_allow_ips="*"
    )


if __name__ == "__main__":
    main()
