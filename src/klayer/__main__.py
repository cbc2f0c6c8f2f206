"""``python -m klayer``: the command, where it isn't on the path."""

import sys

from klayer.cli import main

if __name__ == "__main__":
    sys.argv[0] = "klayer"  # what a run is said to have been made by
    main()
