"""The config that `inspire-mirror init` writes: short, commented, and safe, as it fetches nothing before a subscription is chosen.

As in sshd_config, `# text` explains and `#key = value` is a setting that is not in force.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Template

from mirror.settings.known import KNOWN_UPSTREAMS

_HEAD = Template("""\
# The config of inspire-mirror. Next:
#   1. inspire-mirror catalog             what there is; `catalog BDTOPO` lists one resource
#   2. choose a subscription below        then `inspire-mirror config check`
#   3. inspire-mirror plan                what a sync would fetch, and whether the disk can hold it
#   4. inspire-mirror sync                fetches it; with a `schedule`, the service keeps it in step
# `# text` explains, `#key = value` shows a default or an example: remove the # to set it.

root = $root

# Whom the operator of the upstream can write to: it is sent along with each request.
#contact = "sig@example.org"

""")

_UPSTREAM = Template("""\
# $about
[upstream.$table]
url = $url
#requests_per_second = 4
#downloads = 4                          # transfers at once
#bandwidth = "50 MB"                    # per second, over all transfers; default: no limit
#min_speed = "64 kB"                    # a transfer that stays slower is resumed on a new connection
#full_listing_every = "7d"              # between full listings, only what changed is listed
#retry_for = "60s"                      # how long an upstream that does not answer is tried again
""")

_KEY = """\
# The key, alone in a file that only the service can read. With systemd: LoadCredential=geopf-key:/etc/..., and
# Environment=INSPIRE_MIRROR_UPSTREAM__<NAME>__API_KEY_FILE=%d/geopf-key instead of this line.
#api_key_file = "api-key"
"""

_SUBSCRIPTION = """
[limits]
#min_free = "1 GiB"                     # a sync that would leave less free on the disk is refused, or stopped on its way

# What the service (`inspire-mirror run`, or systemctl enable --now inspire-mirror) does by the clock.
[service]
#timezone = "local"                     # of all hours in this file: or "Europe/Paris"
#window = "20:00-06:00"                 # scheduled runs work in these hours only; default: at any time

# Where `inspire-mirror serve`, and the service, offer what is here over HTTP.
#[serve]
#listen = "127.0.0.1:8420"              # this machine only; "0.0.0.0:8420": whoever reaches it, by IPv4
#public_url = "http://mirror.example.org:8420"   # what links start with; default: the host that a client has asked for

# What to keep; any number of such tables, each with a name of its own. A list that is left out does not filter.
#[subscription.topo-savoie]
#resources = ["BDTOPO"]                 # globs on the resource id
#sub_resources = ["*TOUSTHEMES*"]       # globs on the sub-resource id
#zones = ["D073"]
#formats = ["GPKG"]
#crs = ["EPSG:2154"]
#files = ["*.7z", "*.7z.*", "*.md5"]    # globs on the file name
#edition = "latest"                     # or "all", 3 (the last three), "2024-01-01..2025-12-31"
#bbox = [5.5, 44.7, 6.4, 45.9]          # west, south, east, north in degrees: keeps what intersects it
#publish = "whole"                      # all files of a sub-resource or none; "each": every file once it is verified
#schedule = "daily 03:15"               # or "every 6h", or cron; without it, only `sync` fetches anything
#on_publish = ["logger", "-t", "mirror", "{path}"]   # a command that is run after each publication
"""


def init_text(upstream_name: str, url: str, root: str | Path) -> str:
    """A config for one upstream, with every common setting explained and the defaults in force.

    `upstream_name` becomes the name of its table. The text loads as it is, and with any of its examples uncommented.
    """
    known = KNOWN_UPSTREAMS.get(upstream_name)
    about = known.about[0].upper() + known.about[1:] + "." if known and known.url == url else "Where to mirror from."
    table = upstream_name if re.fullmatch(r"[A-Za-z0-9_-]+", upstream_name) else _quoted(upstream_name)
    upstream = _UPSTREAM.substitute(about=about, table=table, url=_quoted(url))
    key = _KEY if known and known.needs_key else ""
    return _HEAD.substitute(root=_quoted(str(root))) + upstream + key + _SUBSCRIPTION


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
