"""`python -m mirror` is `inspire-mirror`."""

import sys

try:
    from mirror.cli import main
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    main()
