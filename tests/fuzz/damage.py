"""Whole files made bad: bytes changed, put in, taken out, cut off."""

from hypothesis import strategies as st

NUM_HEAD = 200  # bytes at the beginning, where the structure is, get a third of the damage
LONGEST = 64  # bytes put in or taken out at once

places = st.one_of(
    st.integers(0, NUM_HEAD), st.integers(-NUM_HEAD, -1), st.integers(0, 1 << 20)
)  # a place before the beginning counts from the end, one beyond the end from the beginning again
changes = st.one_of(
    st.tuples(st.just("set"), places, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("put"), places, st.binary(min_size=1, max_size=LONGEST)),
    st.tuples(st.just("take"), places, st.integers(1, LONGEST)),
    st.tuples(st.just("cut"), places, st.none()),
)


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """Return a file with up to four faults, or other bytes altogether."""
    faulty = st.lists(changes, min_size=1, max_size=4).map(lambda each: applied(whole, each))
    return st.one_of(faulty, faulty, faulty, st.binary(max_size=300))


def applied(whole: bytes, faults: list[tuple[str, int, bytes | int | None]]) -> bytes:
    """Apply faults one after the other."""
    data = bytearray(whole)
    for kind, place, what in faults:
        at = place % max(1, len(data))
        match kind, what:
            case "set", bytes(new):
                data[at : at + len(new)] = new
            case "put", bytes(new):
                data[at:at] = new
            case "take", int(number):
                del data[at : at + number]
            case _:
                del data[at:]
    return bytes(data)
