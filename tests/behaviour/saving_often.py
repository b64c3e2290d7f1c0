"""The command line with progress saved after every step or block, not every five minutes."""

from ruggedize.assess import resuming
from ruggedize.cli.main import main
from ruggedize.train import distributed

distributed.SAVE_SECONDS = resuming.SAVE_SECONDS = -1.0

if __name__ == "__main__":
    main()
