"""The command line with the state saved after every step instead of every five minutes."""

from ruggedize.cli.main import main
from ruggedize.train import distributed

distributed.SAVE_SECONDS = -1.0

if __name__ == "__main__":
    main()
