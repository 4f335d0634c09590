"""Rules 1 to 4 of durability, the log and its replay, each broken once on purpose. `broken_rules.py` says how to read it."""

from storage_node.tests.broken_rules import broken

ORDER = "test_durability_order.py"
RULES = "test_durability_rules.py"
DISK = "test_disk_errors.py"
LOG = "test_log_rules.py"
WAL = "test_wal.py"
FILES = "test_store_files.py"
VISIBLE = "test_half_written.py"
GARBAGE = "test_garbage.py"

LOG_RULES = [
    broken(
        "0. A change shows, and is acknowledged, only when its batch is on disk",
        "wal.py",
        (
            "                self.medium.sync(self._fd)\n            except OSError as error:\n                # A failed",
            "                pass\n            except OSError as error:\n                # A failed",
        ),
        f"{WAL}::test_a_batch_is_synced_before_append_returns_and_the_next_is_written_after",
        f"{DISK}::test_rule_7_a_failed_log_sync_leaves_the_outcome_open_never_507_or_503",
    ),
    broken(
        "0. No reader sees a change earlier",
        "committer.py",
        (
            "            first_lsn = self._append(ready)\n",
            (
                "            self._element.index.apply(self._element.log.last_lsn + 1, _records(ready))\n"
                "            first_lsn = self._append(ready)\n"
            ),
        ),
        f"{FILES}::test_nothing_is_visible_before_it_is_durable",
    ),
    broken(
        "1. A part is synced before its record",
        "uploads.py",
        ("            element.disk.medium.sync(self._fd)\n", ""),
        f"{RULES}::test_rule_1_a_streamed_body_is_synced_then_its_name_then_the_record_and_only_renames_remain",
    ),
    broken(
        "1. `incoming/` is synced before the record",
        "committer.py",
        ("            self._element.disk.sync_parts()\n", "            pass\n"),
        f"{RULES}::test_rule_1_a_streamed_body_is_synced_then_its_name_then_the_record_and_only_renames_remain",
    ),
    broken(
        "1. The attributes are written before the record, so that only renames remain",
        "changes.py",
        (
            "            self._attributes_part = disk.write_part(file.file_bytes)\n",
            "",
        ),
        f"{ORDER}::test_rule_1_the_attributes_and_the_directory_are_made_before_the_record",
    ),
    broken(
        "1. Content takes its place before the attributes",
        "changes.py",
        (
            "        if self._content_part is not None:\n            self.element.disk.place_content",
            (
                "        if self._attributes_part is not None:\n"
                "            self.element.disk.place_attributes(self._attributes_part, received.file)\n"
                "            self._attributes_part = None\n"
                "        if self._content_part is not None:\n            self.element.disk.place_content"
            ),
        ),
        f"{ORDER}::test_rule_1_the_attributes_and_the_directory_are_made_before_the_record",
    ),
    broken(
        "1. Nothing is seen half-written: a file's bytes and attributes get their names when they are complete",
        "disk.py",
        (
            "        self.medium.put(unfinished, data)\n",
            "        self.medium.put(path, data)\n        return\n",
        ),
        f"{VISIBLE}::test_rule_1_nobody_ever_sees_half_of_a_file_or_of_its_attributes",
    ),
    broken(
        "4. Replay removes what was being written",
        "redo.py",
        ("            disk.drop_unfinished(record.file_id)\n", "            pass\n"),
        f"{VISIBLE}::test_rule_4_what_was_being_written_is_gone_after_a_replay",
    ),
    broken(
        "1. The directory is made, and synced, before the record",
        "changes.py",
        ("            disk.settle_directory(file.file_id)\n", ""),
        f"{ORDER}::test_rule_1_the_attributes_and_the_directory_are_made_before_the_record",
    ),
    broken(
        "1. A batch of many changes takes one sync",
        "committer.py",
        ("BATCH_LIMIT_CHANGES = 256", "BATCH_LIMIT_CHANGES = 1"),
        f"{RULES}::test_rule_1_many_changes_share_one_sync",
    ),
    broken(
        "1. Edit, delete, expire, purge, mode, quarantine, repair: record and sync first, then applied",
        "committer.py",
        (
            "            change.record = decided\n",
            (
                "            change.record = decided\n            if not change.needs_no_files_to_answer and not change.needs_parts_synced:\n"
                "                change.apply()\n"
            ),
        ),
        f"{ORDER}::test_rule_1_every_other_change_is_one_record_and_one_sync_before_it_is_applied",
        f"{ORDER}::test_rule_1_a_quarantine_is_one_record_and_one_sync_before_it_is_applied",
    ),
    broken(
        "2. One change of a file at a time, from the checks to the apply",
        "committer.py",
        (
            "            blocked = change.file_id in files or (\n",
            "            blocked = (\n",
        ),
        f"{RULES}::test_rule_2_checks_see_everything_recorded_before",
        f"{FILES}::test_only_one_of_many_edits_of_the_same_revision_succeeds",
    ),
    broken(
        "2. Garbage collection checks again under the lock",
        "upkeep.py",
        ("            or row.revision != self._seen.revision\n", ""),
        f"{GARBAGE}::test_an_edit_between_the_listing_and_the_purge_is_seen",
    ),
    broken(
        "2. A late upload is checked again under the lock: closed ids",
        "changes.py",
        (
            "            refuse_gone(self.attempted, None, index.tombstone_status(file.file_id), self.now)\n",
            "",
        ),
        f"{FILES}::test_abandon_closes_an_absent_id_for_uploads_under_way_and_later",
    ),
    broken(
        "2. A late upload is checked again under the lock: files that are over",
        "changes.py",
        ("        refuse_gone(self.attempted, row, None, self.now)\n", ""),
        f"{ORDER}::test_a_late_upload_of_an_expired_id_is_refused_under_the_lock",
    ),
    broken(
        "2. A mode change excludes appends",
        "changes.py",
        ('    attempted = "Mode change"\n    is_alone = True\n', '    attempted = "Mode change"\n'),
        f"{RULES}::test_rule_2_a_mode_change_stands_between_what_came_before_and_after",
    ),
    broken(
        "3. A batch counts only with the log's id",
        "wal_scan.py",
        (
            "    if header is None or header.log_id != log_id or header.records == 0:\n",
            "    if header is None or header.records == 0:\n",
        ),
        f"{LOG}::test_rule_3_a_batch_belongs_to_the_log_only_with_id_number_lsn_and_chain_all_right",
    ),
    broken(
        "3. A batch counts only with its number, first LSN and the checksum chained to the batch before",
        "wal_scan.py",
        ("        if header.at != at:\n            return\n", ""),
        f"{LOG}::test_rule_3_a_batch_belongs_to_the_log_only_with_id_number_lsn_and_chain_all_right",
    ),
    broken(
        "3. A batch counts only when it agrees with its own checksum",
        "wal_format.py",
        (
            "        return body if digest(raw[: _BATCH.size], body) == self.own_digest else None\n",
            "        return body\n",
        ),
        f"{LOG}::test_rule_3_a_torn_page_of_the_last_batch_is_the_end_wherever_it_is",
    ),
    broken(
        "3. Segments are chained to one another",
        "wal_scan.py",
        (
            "        if end != follower.header.first:\n",
            "        if end.lsn != follower.header.first.lsn:\n",
        ),
        f"{LOG}::test_rule_3_a_segment_chains_to_the_one_before",
    ),
    broken(
        "3. An invalid batch with a valid later one is damage",
        "wal_scan.py",
        ("    _refuse_later_batches(medium, newest, end, end_offset)\n", ""),
        f"{WAL}::test_an_invalid_batch_with_a_valid_one_behind_it_is_damage_and_not_an_end",
    ),
    broken(
        "3. An invalid batch with no valid later one is the end",
        "wal_scan.py",
        (
            "        if found is not None and found[0].at.batch >= end.batch:\n",
            "        if any(raw[offset : offset + 4]):\n",
        ),
        f"{LOG}::test_rule_3_a_torn_page_of_the_last_batch_is_the_end_wherever_it_is",
    ),
    broken(
        "3. On start the tail is cut",
        "wal.py",
        ("            medium.truncate(fd, found.end_offset)\n", ""),
        f"{WAL}::test_resuming_cuts_the_tail_and_begins_a_new_segment",
    ),
    broken(
        "3. On start the cut is synced",
        "wal.py",
        (
            "            medium.truncate(fd, found.end_offset)\n            medium.sync(fd)\n",
            "            medium.truncate(fd, found.end_offset)\n",
        ),
        f"{LOG}::test_rule_3_the_tail_is_cut_synced_and_a_new_segment_begun_before_anything_else",
    ),
    broken(
        "3. ... and a new segment begun before anything else",
        "store.py",
        (
            "    found = scan(medium, directory.identity.log_id)\n",
            "    found = scan(medium, directory.identity.log_id)\n    redo(disk, found)\n",
        ),
        f"{LOG}::test_rule_3_the_tail_is_cut_synced_and_a_new_segment_begun_before_anything_else",
    ),
    broken(
        "3. A segment is preallocated and synced before its first acknowledgement",
        "wal.py",
        (
            "                self.medium.write(fd, _ZEROS[: self.segment_bytes - start])\n            self.medium.sync(fd)\n",
            "                self.medium.write(fd, _ZEROS[: self.segment_bytes - start])\n",
        ),
        f"{WAL}::test_a_segment_is_allocated_and_synced_before_it_has_its_name",
        f"{LOG}::test_a_spare_is_written_in_full_and_synced_and_a_failed_one_is_taken_away",
    ),
    broken(
        "3. ... and `wal/` is synced before it",
        "wal.py",
        (
            "        try:\n            self.medium.sync_directory(WAL)\n",
            "        try:\n            pass\n",
        ),
        f"{LOG}::test_rule_3_wal_is_synced_after_a_segment_got_its_name_and_before_its_first_batch",
    ),
    broken(
        "3. The header holds the checkpoint's LSN, so that older leftovers are ignored",
        "wal_scan.py",
        (
            "    first = _first_needed(segments, checkpoint_lsn)\n",
            "    first = _first_needed(segments, 0)\n",
        ),
        f"{WAL}::test_leftovers_older_than_the_checkpoint_are_ignored_whatever_is_in_them",
    ),
    broken(
        "3. A short append is cut away",
        "wal.py",
        ("            self.medium.truncate(self._fd, self._offset)\n", ""),
        f"{LOG}::test_rule_3_a_short_append_is_cut_away_and_synced",
    ),
    broken(
        "3. ... and synced, else the node is degraded",
        "wal.py",
        (
            "            self.medium.truncate(self._fd, self._offset)\n            self.medium.sync(self._fd)\n",
            "            self.medium.truncate(self._fd, self._offset)\n",
        ),
        f"{LOG}::test_rule_3_a_short_append_is_cut_away_and_synced",
        f"{LOG}::test_rule_3_a_short_append_that_can_not_be_synced_away_breaks_the_log",
    ),
    broken(
        "4. The log is folded to one final state per file before it is applied",
        "redo.py",
        (
            "    if file is not None and final.attributes.get(file.file_id) == lsn:\n",
            "    if file is not None:\n",
        ),
        f"{ORDER}::test_rule_4_only_the_final_state_of_a_file_is_applied",
    ),
    broken(
        "4. A purge that is recorded is carried out",
        "redo.py",
        (
            "    if final.names.get(file_id) != stored_name:\n",
            "    if False:\n",
        ),
        f"{ORDER}::test_rule_4_a_purged_file_stays_gone_whether_its_bytes_were_in_the_log_or_a_part",
    ),
    broken(
        "4. A purge ends what was recorded before it: the file is not missing",
        "redo.py",
        (
            "            final.content.pop(file_id, None)\n            final.attributes.pop(file_id, None)\n",
            "",
        ),
        f"{ORDER}::test_rule_4_a_purged_file_stays_gone_whether_its_bytes_were_in_the_log_or_a_part",
    ),
    broken(
        "4. An existing target of the recorded size is kept",
        "redo.py",
        ("    if disk.content_size(file) == file.size:\n        return True\n", ""),
        f"{RULES}::test_rule_4_a_kill_after_the_acknowledgement_loses_nothing",
    ),
    broken(
        "4. A part of another size is never renamed",
        "redo.py",
        (
            "    if disk.part_size(part) == file.size:\n",
            "    if disk.part_size(part) is not None:\n",
        ),
        f"{RULES}::test_rule_4_a_part_of_another_size_is_never_renamed_and_the_loss_is_visible",
    ),
    broken(
        "4. Target and part both missing is `missing_file`, visible",
        "redo.py",
        (
            "            missing += [record.file_id] if record.file_id else []\n",
            "            pass\n",
        ),
        f"{RULES}::test_rule_4_a_part_of_another_size_is_never_renamed_and_the_loss_is_visible",
    ),
    broken(
        "4. A body inside the record is compared, not trusted by its size",
        "redo.py",
        (
            "    if not disk.holds(content_path(file.file_id, file.stored_name), body):\n",
            "    if disk.content_size(file) != file.size:\n",
        ),
        f"{RULES}::test_rule_4_a_file_with_its_length_but_not_its_bytes_is_written_anew",
    ),
    broken(
        "4. What a replayed record names counts as unsynced for the next checkpoint",
        "wal.py",
        (
            "        log.roll(found.checkpoint_lsn)\n",
            "        log.roll(found.last_lsn)\n",
        ),
        f"{ORDER}::test_rule_4_what_was_replayed_counts_as_unsynced_for_the_next_checkpoint",
    ),
    broken(
        "4. Unclaimed parts go only after a complete replay",
        "store.py",
        (
            "    redone = redo(disk, found)\n",
            "    for name in disk.parts():\n        disk.drop_part(name)\n    redone = redo(disk, found)\n",
        ),
        f"{ORDER}::test_rule_4_parts_nobody_claims_stay_until_a_replay_was_complete",
        f"{RULES}::test_rule_4_a_part_of_the_right_size_is_renamed",
    ),
    broken(
        "4. Unclaimed parts do go",
        "store.py",
        ("        disk.drop_part(part)\n", "        pass\n"),
        f"{RULES}::test_rule_4_a_purge_is_final_and_parts_without_record_go_after_the_replay",
    ),
    broken(
        "4. Replaying twice gives the same state",
        "redo.py",
        (
            "    damage_mark(disk, record)\n    return True\n",
            '    disk.mark_damaged(UUID(record.facts["file_id"]), None)\n    return True\n',
        ),
        f"{ORDER}::test_rule_4_replaying_twice_gives_the_same_directory",
    ),
]
