"""``python -m klayer``: the command, where it isn't on the path."""

from klayer.cli import main

if __name__ == "__main__":
    main()
