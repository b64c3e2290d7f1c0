"""`python -m ruggedize`, which is also what `accelerate launch -m ruggedize` starts."""

from ruggedize.cli.main import main

if __name__ == "__main__":
    main()
