"""`make bench`: every comparison, one after the other."""

from benchmarks import corruptions, randaugment

if __name__ == "__main__":
    randaugment.main()
    corruptions.main()
