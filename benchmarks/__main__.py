"""`make bench`: every comparison, one after the other."""

from benchmarks import randaugment

if __name__ == "__main__":
    randaugment.main()
