"""The JSON API: what the commands say with `--json`, what happened, and a description of all of it.

`parameters` says what may be asked, for the handlers and the description alike; `spool` sends answers of any length.
"""

from mirror.serving.api.routes import api_routes

__all__ = ["api_routes"]
