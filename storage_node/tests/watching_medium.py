"""A disk that does everything for real and remembers the order of it, for tests of what must come before what."""

from pathlib import Path

from storage_node.tests.faulty_medium import FaultyMedium


class OrderedMedium(FaultyMedium):
    """`done` holds `operation path` for each operation; rules still make operations fail, after they were noted."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.done: list[str] = []

    def _check(self, operation: str, path: str) -> None:
        self.done.append(f"{operation} {path}")
        super()._check(operation, path)

    def unlink(self, path: str) -> None:
        self._check("unlink", path)
        super().unlink(path)

    def open_read(self, path: str) -> int:
        self._check("read", path)
        return super().open_read(path)

    def read(self, path: str) -> bytes:
        self._check("read", path)
        return super().read(path)

    def place(self, operation: str, part: str = "", after: int = -1) -> int:
        """Where `operation` on a path with `part` in it comes first, behind place `after`."""
        for place in range(after + 1, len(self.done)):
            done, _, path = self.done[place].partition(" ")
            if done == operation and part in path:
                return place
        raise AssertionError(f"{operation} {part} is not among {self.done[after + 1 :]}")

    def places(self, operation: str, part: str = "") -> list[int]:
        """All of them."""
        return [
            place
            for place, text in enumerate(self.done)
            if text.startswith(f"{operation} ") and part in text
        ]
