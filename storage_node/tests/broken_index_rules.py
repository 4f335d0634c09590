"""The rules of the index and of garbage collection, each broken once on purpose: goes on where `broken_rules.py` ends."""

from storage_node.tests.broken_rules import broken

RULES = "test_index_rules.py"
ORDER = "test_index_order.py"
GARBAGE = "test_garbage.py"
CLOCK = "test_garbage_clock.py"

INDEX = [
    broken(
        "Start-up replays the tail and does not scan the directory",
        "store.py",
        (
            "    if fault is not None:\n",
            "    if True:\n",
        ),
        f"{RULES}::test_start_replays_the_tail_and_does_not_scan_the_directory",
        f"{RULES}::test_the_index_keeps_its_epoch_and_numbers_across_a_restart",
    ),
    broken(
        "It remembers the position it has applied, and the tail behind it is taken up",
        "store.py",
        (
            "        index.apply(chunk[0][0], [record for _, record in chunk])\n",
            "        pass\n",
        ),
        f"{ORDER}::test_every_change_of_the_index_is_a_log_record",
    ),
    broken(
        "Forgotten tombstones raise the floor below which a feed must begin again",
        "index.py",
        (
            '        self.at.floor = max(self.at.floor, record.facts["through"])\n',
            "",
        ),
        f"{RULES}::test_a_cursor_below_a_forgotten_tombstone_must_begin_again",
    ),
    broken(
        "Lookup, pages and counters agree: totals follow every change",
        "index.py",
        (
            "            self._count(old, -1)\n        self._count(new, 1)\n",
            "            pass\n        self._count(new, 1)\n",
        ),
        f"{RULES}::test_totals_follow_every_change",
    ),
    broken(
        "Keyset pages give every file once while files change",
        "index.py",
        (
            "            file, old.seq if old else change, change, damage, old.verified_at if old else 0\n",
            "            file, change, change, damage, old.verified_at if old else 0\n",
        ),
        f"{RULES}::test_pages_by_cursor_give_every_file_once_while_files_come_and_change",
    ),
    broken(
        "The last verification of a file is kept through a change",
        "index.py",
        (
            "            file, old.seq if old else change, change, damage, old.verified_at if old else 0\n",
            "            file, old.seq if old else change, change, damage, 0\n",
        ),
        f"{ORDER}::test_the_date_of_verification_stays_with_a_file_that_is_edited",
    ),
    broken(
        "Rows and position change in one transaction",
        "index.py",
        (
            '                self._connection.execute("ROLLBACK")\n',
            '                self._connection.execute("COMMIT")\n',
        ),
        f"{ORDER}::test_rows_and_position_change_in_one_transaction",
    ),
    broken(
        "Nothing reads past the last applied record",
        "index.py",
        ('        self._connection.execute("BEGIN IMMEDIATE")\n', ""),
        f"{ORDER}::test_nothing_reads_a_batch_before_all_of_it_is_in_the_index",
    ),
    broken(
        "Change number = base of the epoch + place in the log",
        "index.py",
        ("        return self.base + lsn\n", "        return lsn\n"),
        f"{ORDER}::test_change_numbers_are_the_epoch_s_base_plus_the_place_in_the_log",
    ),
    broken(
        "A position the log does not reach (too old, beyond its end): rebuild",
        "index.py",
        (
            "    if not bounds.oldest_lsn - 1 <= position <= bounds.last_lsn:\n",
            "    if False:\n",
        ),
        f"{RULES}::test_an_index_in_doubt_is_rebuilt_with_a_new_epoch_and_loses_no_file",
        f"{ORDER}::test_an_index_of_the_oldest_position_the_log_reaches_is_taken_and_one_older_is_not",
    ),
    broken(
        "Of another log, or another inode of `node.json`: rebuild",
        "index.py",
        (
            "    if log_id != bounds.log_id or inode != node_inode:\n",
            "    if False:\n",
        ),
        f"{RULES}::test_an_index_in_doubt_is_rebuilt_with_a_new_epoch_and_loses_no_file",
    ),
    broken(
        "A rebuild is complete only when everything is in it",
        "index.py",
        (
            '    return "incomplete" if row is None else _why_unfit(row, bounds, node_inode)\n',
            "    return None if row is None else _why_unfit(row, bounds, node_inode)\n",
        ),
        f"{ORDER}::test_an_index_is_complete_only_when_everything_is_in_it",
    ),
    broken(
        "`complete` unset: rebuild",
        "index.py",
        ('    if not complete:\n        return "incomplete"\n', ""),
        f"{RULES}::test_an_index_in_doubt_is_rebuilt_with_a_new_epoch_and_loses_no_file",
    ),
    broken(
        "The new index is synced",
        "index_rebuild.py",
        ("        medium.sync(fd)\n", "        pass\n"),
        f"{ORDER}::test_a_rebuild_is_synced_and_named_only_after_what_could_bring_old_rows_back_is_gone",
    ),
    broken(
        "The old index's log and shared memory are removed, and the directory synced, before the new one gets its name",
        "index_rebuild.py",
        (
            "    medium.unlink(INDEX_WAL_FILE)\n    medium.unlink(INDEX_SHM_FILE)\n    medium.sync_directory(os.curdir)\n",
            "",
        ),
        f"{ORDER}::test_a_rebuild_is_synced_and_named_only_after_what_could_bring_old_rows_back_is_gone",
        f"{RULES}::test_a_leftover_log_of_an_old_index_brings_no_old_rows_back",
    ),
    broken(
        "The directory is synced after the rename",
        "index_rebuild.py",
        (
            "    medium.rename(NEW_FILE, INDEX_FILE)\n    medium.sync_directory(os.curdir)\n",
            "    medium.rename(NEW_FILE, INDEX_FILE)\n",
        ),
        f"{ORDER}::test_a_rebuild_is_synced_and_named_only_after_what_could_bring_old_rows_back_is_gone",
    ),
    broken(
        "A rebuild begins a new random epoch",
        "index_rebuild.py",
        ("        str(uuid4()),\n", "        str(UUID(int=0)),\n"),
        f"{ORDER}::test_two_rebuilds_have_two_epochs",
    ),
    broken(
        "It loses tombstones, dates and the last report, nothing else: damage is remembered by its notes",
        "index_rebuild.py",
        (
            "[_as_noted(row, noted) for row in rows] if noted else rows",
            "rows",
        ),
        f"{RULES}::test_quarantined_and_damaged_files_stay_damaged_in_a_rebuilt_index",
    ),
    broken(
        "Corrupt attributes stay a row with status `damaged`",
        "leaf_rows.py",
        (
            '    return row_of_unreadable(claimed, 0, 0, "corrupt_attributes", name) if claimed else None\n',
            "    return None\n",
        ),
        f"{RULES}::test_corrupt_attributes_found_by_a_rebuild_are_a_row_and_not_a_hole",
    ),
]

COLLECTION = [
    broken(
        "Once per interval",
        "periodic.py",
        (
            "            garbage_at = monotonic() + options.gc_interval_seconds\n            _survive",
            "            _survive",
        ),
        f"{CLOCK}::test_garbage_is_collected_once_per_interval",
    ),
    broken(
        "Active past `expires_at` becomes expired",
        "garbage.py",
        ("        _expire(store, report)\n", ""),
        f"{GARBAGE}::test_an_overdue_file_is_marked_expired_and_keeps_its_bytes_through_the_grace",
        f"{GARBAGE}::test_in_ro_and_ar_files_expire_in_status_and_keep_their_bytes",
    ),
    broken(
        "Expired past the grace, and only then",
        "upkeep.py",
        (
            "        is_past_grace = row.expires_at is None or row.expires_at <= self._grace_over\n",
            "        is_past_grace = row.expires_at is None or row.expires_at < self._grace_over\n",
        ),
        f"{CLOCK}::test_a_grace_ends_to_the_second_and_counts_from_the_expiry",
    ),
    broken(
        "Freed in the same cycle",
        "garbage.py",
        (
            "        _expire(store, report)\n        if report.postponed_reason is None:\n",
            "        _expire(store, report)\n        if report.postponed_reason is None and not report.expired_files:\n",
        ),
        f"{GARBAGE}::test_overdue_beyond_the_grace_is_marked_and_freed_in_the_same_cycle",
    ),
    broken(
        "Not earlier than the newest change",
        "clock_trust.py",
        ("        if newest_at and now < moment(newest_at):\n", "        if False:\n"),
        f"{GARBAGE}::test_nothing_goes_on_a_clock_behind_the_newest_change",
    ),
    broken(
        "Corroborated by a verified token",
        "clock_trust.py",
        (
            "        if witnessed_at is None or self._monotonic() - witnessed_at > 2 * self._interval_seconds:\n",
            "        if witnessed_at is not None and self._monotonic() - witnessed_at > 2 * self._interval_seconds:\n",
        ),
        f"{GARBAGE}::test_nothing_goes_without_a_token_that_confirms_the_clock",
    ),
    broken(
        "... whose `iat` is within 10 minutes",
        "clock_trust.py",
        ("TOKEN_NEARNESS_SECONDS = 600.0", "TOKEN_NEARNESS_SECONDS = 601.0"),
        f"{CLOCK}::test_a_token_counts_within_ten_minutes_of_this_clock_either_way",
    ),
    broken(
        "... in the last two intervals",
        "clock_trust.py",
        ("> 2 * self._interval_seconds:", "> 3 * self._interval_seconds:"),
        f"{GARBAGE}::test_a_confirmation_lasts_two_intervals",
        f"{CLOCK}::test_a_token_of_two_intervals_ago_is_the_oldest_that_counts",
    ),
    broken(
        "... or `--trust-clock`",
        "garbage.py",
        ("    doubt = None if trust_clock else ", "    doubt = "),
        f"{CLOCK}::test_the_operator_s_word_stands_for_all_witnesses",
    ),
    broken(
        "Not drifting more than 5 minutes from the monotonic clock",
        "clock_trust.py",
        (
            "        if abs(drift) > DRIFT_LIMIT_SECONDS:\n",
            "        if drift > DRIFT_LIMIT_SECONDS:\n",
        ),
        f"{CLOCK}::test_five_minutes_against_the_monotonic_clock_are_the_limit_either_way",
    ),
    broken(
        "Freed files leave a tombstone",
        "index.py",
        (
            '        self._connection.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?)", tombstone)\n',
            "        del tombstone\n",
        ),
        f"{GARBAGE}::test_freed_files_leave_a_tombstone_for_as_long_as_the_operator_wants",
    ),
    broken(
        "... for `SE_TOMBSTONE_KEEP` and no longer",
        "garbage.py",
        ("            _forget(store, report)\n", ""),
        f"{GARBAGE}::test_freed_files_leave_a_tombstone_for_as_long_as_the_operator_wants",
    ),
    broken(
        "A dry run changes nothing",
        "garbage.py",
        ("    if dry_run:\n        _list", "    if False:\n        _list"),
        f"{GARBAGE}::test_a_dry_run_lists_what_would_go_why_and_how_many_bytes_and_changes_nothing",
    ),
    broken(
        "... and lists what would go, overdue files past the grace included",
        "garbage.py",
        (
            "    for row in element.reading.overdue(grace_over, ITEMS_LIMIT):\n",
            "    for row in []:\n",
        ),
        f"{GARBAGE}::test_a_dry_run_lists_what_would_go_why_and_how_many_bytes_and_changes_nothing",
    ),
    broken(
        "The report counts bytes really freed",
        "upkeep.py",
        (
            "        self._freed_bytes += disk.medium.size(content_path(self._seen.file_id, stored_name)) or 0\n",
            "        self._freed_bytes += self._seen.size\n",
        ),
        f"{CLOCK}::test_a_report_counts_what_was_really_freed",
    ),
    broken(
        "In `ro` and `ar` files keep their bytes",
        "modes.py",
        ('FREES_BYTES = ("edit", "rw")', 'FREES_BYTES = ("edit", "rw", "ro", "ar")'),
        f"{GARBAGE}::test_in_ro_and_ar_files_expire_in_status_and_keep_their_bytes",
    ),
]
