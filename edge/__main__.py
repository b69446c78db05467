"""``python -m edge`` is the command ``sonosweep``, also where its script is not on the PATH."""

import sys

from edge.app import main

if __name__ == "__main__":
    sys.exit(main())
