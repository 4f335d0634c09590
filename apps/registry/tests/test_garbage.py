"""Garbage collection as an operator meets it: through the registry, on a real node."""

from pathlib import Path
from typing import Any

from django.utils import timezone

from apps.registry import elements
from apps.registry.tests import make


def bytes_on_disk(site: Any) -> int:
    return sum(
        path.stat().st_size
        for path in Path(site.node.data_dir, "files").rglob("*")
        if path.is_file() and not path.name.endswith(".attr.json")
    )


def test_prior_art_28_garbage_collection_frees_exactly_what_its_dry_run_named(site: Any) -> None:
    kept, gone = (
        [site.put(b"k" * 3000) for _ in range(3)],
        [site.put(b"g" * 2000) for _ in range(4)],
    )
    site.sync()
    for said in gone:
        site.client().delete_file(said.file_id)
    before = bytes_on_disk(site)
    now = timezone.now()
    named = elements.collect_garbage(site.element.pk, make.principal(), now, dry_run=True)
    assert bytes_on_disk(site) == before
    done = elements.collect_garbage(site.element.pk, make.principal(), now, dry_run=False)
    assert (done["freed_files"], done["freed_bytes"]) == (4, 8000)
    assert (named["freed_files"], named["freed_bytes"]) == (4, 8000)
    assert before - bytes_on_disk(site) == 8000
    again = elements.collect_garbage(site.element.pk, make.principal(), now, dry_run=False)
    assert again["freed_files"] == 0
    site.sync()
    assert {site.record(one.file_id).status for one in kept} == {"active"}
    assert {site.record(one.file_id).status for one in gone} == {"deleted"}
