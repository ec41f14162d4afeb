"""`python -m bench [NAME ...] [--quick] [--json]`: run the measurements and print one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.archives import archives
from bench.catalogue import catalogue
from bench.feeds import feeds
from bench.figures import Figure, print_json, print_table
from bench.ground import QUICK, Ground, Sizes, base_folder, missing
from bench.index import rows
from bench.querying import queries
from bench.service import service
from bench.serving import serving
from bench.transfers import large_files, one_file, one_file_tls, small_files


@dataclass(frozen=True, slots=True)
class Measurement:
    """What it does, and which tools it needs for that."""

    run: Callable[[Ground], Iterable[Figure]]
    tools: tuple[str, ...] = ()


_SERVER = ("nginx", "openssl")
MEASUREMENTS = {
    "one-file": Measurement(one_file, (*_SERVER, "curl", "aria2c")),
    "one-file-tls": Measurement(one_file_tls, (*_SERVER, "curl", "aria2c")),
    "large-files": Measurement(large_files, (*_SERVER, "aria2c")),
    "small-files": Measurement(small_files, (*_SERVER, "aria2c")),
    "feeds": Measurement(feeds),
    "catalogue": Measurement(catalogue, _SERVER),
    "rows": Measurement(rows),
    "queries": Measurement(queries),
    "archives": Measurement(archives, ("7zz",)),
    "service": Measurement(service),
    "serving": Measurement(serving, ("nginx", "curl", "wrk")),
}


def main() -> int:
    """Exit status 0 where all that was asked for could be measured, whether or not the goals are met; else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures inspire-mirror against real peers.")
    parser.add_argument("name", nargs="*", help=f"which to run: {', '.join(MEASUREMENTS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small input and 3 rounds, to see that all works; not the figures")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of the table")
    asked = parser.parse_args()
    if unknown := set(asked.name) - MEASUREMENTS.keys():
        parser.error(f"no measurement {', '.join(sorted(unknown))}; there are: {', '.join(MEASUREMENTS)}")
    ground = Ground(base_folder(), QUICK if asked.quick else Sizes())
    ground.folder.mkdir(parents=True, exist_ok=True)
    conditions = _conditions(ground, quick=asked.quick)
    _tell(", ".join(f"{name} {value}" for name, value in conditions.items()))
    figures: list[Figure] = []
    left_out = 0
    for name in asked.name or MEASUREMENTS:
        measurement = MEASUREMENTS[name]
        if lacking := missing(measurement.tools):
            _tell(f"{name}: left out, it needs {', '.join(lacking)}")
            left_out += 1
            continue
        began = time.monotonic()
        try:
            for figure in measurement.run(ground):
                figures.append(figure)
        except RuntimeError as error:
            _tell(f"{name}: could not be measured: {error}")
            left_out += 1
        _tell(f"{name}: {time.monotonic() - began:.0f} s")
    if asked.json:
        print_json(figures, conditions)
    else:
        print_table(figures)
    return 1 if left_out else 0


def _conditions(ground: Ground, *, quick: bool) -> dict[str, str]:
    return {
        "sizes": "quick, not those of the goals" if quick else "as the goals have them",
        "rounds": str(ground.sizes.rounds),
        "folder": str(ground.folder),
        "file system": ground.file_system,
        "processors": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
