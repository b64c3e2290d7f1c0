"""`python -m evenkeel`, which is also what `accelerate launch -m evenkeel` starts."""

from evenkeel.cli import main

if __name__ == "__main__":
    main()
