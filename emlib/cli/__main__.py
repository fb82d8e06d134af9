"""`python -m emlib.cli` is `emlib`."""

import sys

from emlib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
