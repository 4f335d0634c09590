"""Memory freed is memory given back, also from between what is still in use."""

from storage_node.memory import WORTH_BYTES, Returning, resident_bytes, share_arenas

KIB, MIB = 1024, 1024 * 1024


def test_what_was_freed_between_what_is_in_use_goes_back_to_the_system() -> None:
    share_arenas()
    returning = Returning()
    returning.look()
    before = resident_bytes()
    # Every other one stays: without being told to, malloc keeps the holes.
    pieces = [bytearray(60 * KIB) for _ in range(2000)]
    full = resident_bytes()
    assert full - before > 100 * MIB
    del pieces[::2]
    returning.look()
    assert full - resident_bytes() > 40 * MIB
    assert sum(map(len, pieces)) == 1000 * 60 * KIB


def test_little_growth_is_left_alone() -> None:
    returning = Returning()
    returning.look()
    kept = bytearray(WORTH_BYTES // 4)
    before = resident_bytes()
    returning.look()
    assert resident_bytes() >= before
    assert len(kept) == WORTH_BYTES // 4
