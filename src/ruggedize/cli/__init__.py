"""The command line: `main` reads arguments; one file per group of commands."""
