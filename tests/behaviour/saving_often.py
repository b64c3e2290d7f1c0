"""The command line with the state saved after every step instead of every five minutes."""

from ruggedize.cli import main
from ruggedize.training import distributed

distributed.SAVE_SECONDS = -1.0

if __name__ == "__main__":
    main()
