"""The command line with the state saved after every step instead of every five minutes."""

from evenkeel.cli import main
from evenkeel.training import questions

questions.SAVE_SECONDS = -1.0

if __name__ == "__main__":
    main()
