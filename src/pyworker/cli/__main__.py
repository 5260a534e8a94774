"""``python -m pyworker.cli``."""

from pyworker.cli import main

if __name__ == "__main__":
    main()
