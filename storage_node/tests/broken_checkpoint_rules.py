"""Rules 5 to 7 of durability, and Backup (8): checkpoints, purges, errors, each broken once on purpose."""

from storage_node.tests.broken_rules import broken

ORDER = "test_durability_order.py"
RULES = "test_durability_rules.py"
DISK = "test_disk_errors.py"
LOG = "test_log_rules.py"

CHECKPOINT_RULES = [
    broken(
        "5. A checkpoint comes by size",
        "checkpoint.py",
        (
            "        if self._element.log.size_bytes > self._wanted_at_bytes and not self._is_wanted:\n            self._want()\n",
            "        pass\n",
        ),
        f"{ORDER}::test_rule_5_size_alone_brings_a_checkpoint",
    ),
    broken(
        "5. ... by time",
        "checkpoint.py",
        (
            "                    self._changed.wait(self._pause_seconds())\n",
            "                    self._changed.wait(3600)\n",
        ),
        f"{RULES}::test_rule_5_time_alone_brings_a_checkpoint",
    ),
    broken(
        "5. ... and at a clean stop",
        "store.py",
        (
            "        self.checkpointer.checkpoint()\n        self.element.reading",
            "        self.element.reading",
        ),
        f"{RULES}::test_rule_5_a_clean_stop_makes_a_checkpoint_and_the_next_start_replays_nothing",
    ),
    broken(
        "5. It claims the contiguous applied LSN, not what is merely written",
        "checkpoint.py",
        (
            "            applied_lsn = self._committer.applied_lsn\n",
            "            applied_lsn = self._element.log.last_lsn\n",
        ),
        f"{ORDER}::test_rule_5_a_checkpoint_claims_only_what_is_applied",
        f"{DISK}::test_rule_7_after_the_append_there_is_no_507_the_change_stands_and_pins_the_log",
    ),
    broken(
        "5. Order: files are synced first",
        "checkpoint.py",
        ("                element.disk.medium.sync_everything()\n", ""),
        f"{RULES}::test_rule_5_order_of_a_checkpoint_files_index_header_then_segments_go",
        f"{ORDER}::test_rule_4_what_was_replayed_counts_as_unsynced_for_the_next_checkpoint",
    ),
    broken(
        "5. ... then the index is made durable",
        "checkpoint.py",
        ("                self._sync_index()\n", ""),
        f"{RULES}::test_rule_5_order_of_a_checkpoint_files_index_header_then_segments_go",
    ),
    broken(
        "5. ... then the header, then segments go",
        "checkpoint.py",
        (
            "                element.log.roll(applied_lsn)\n                element.log.drop_through(applied_lsn)\n",
            "                element.log.drop_through(applied_lsn)\n                element.log.roll(applied_lsn)\n",
        ),
        f"{RULES}::test_rule_5_order_of_a_checkpoint_files_index_header_then_segments_go",
    ),
    broken(
        "5. Oldest first",
        "wal.py",
        (
            (
                "            while len(self._held) > 1 and self._held[1].first_lsn - 1 <= lsn:\n"
                "                self._retire(segment_path(self._held[0].number))\n                del self._held[0]\n"
            ),
            (
                "            while len(self._held) > 1 and self._held[-1].first_lsn - 1 <= lsn:\n"
                "                self._retire(segment_path(self._held[-2].number))\n                del self._held[-2]\n"
            ),
        ),
        f"{LOG}::test_rule_5_segments_go_oldest_first_and_wal_is_synced_after",
    ),
    broken(
        "5. Only whole old segments",
        "wal.py",
        ("self._held[1].first_lsn - 1 <= lsn:", "self._held[1].first_lsn - 1 <= lsn + 1:"),
        f"{LOG}::test_rule_5_a_segment_with_one_record_above_the_checkpoint_stays",
    ),
    broken(
        "5. ... and `wal/` is synced",
        "wal.py",
        ("            if dropped:\n                self.medium.sync_directory(WAL)\n", ""),
        f"{LOG}::test_rule_5_segments_go_oldest_first_and_wal_is_synced_after",
    ),
    broken(
        "5. Any sync error of a checkpoint: degraded, nothing dropped",
        "checkpoint.py",
        (
            '        self._element.health.fail(f"a checkpoint failed ({error})")\n',
            "",
        ),
        f"{RULES}::test_rule_5_any_sync_error_of_a_checkpoint_means_degraded_and_nothing_dropped",
    ),
    broken(
        "5. The log is bounded",
        "checkpoint.py",
        (
            "        if self._element.log.size_bytes <= self._bound_bytes:\n            return\n        self._want()\n",
            "        return\n",
        ),
        f"{RULES}::test_rule_5_appends_wait_at_the_bound_until_the_checkpoint_is_through",
    ),
    broken(
        "6. Purge: bytes, then attributes last",
        "disk.py",
        (
            (
                "        self.medium.unlink(content_path(file_id, stored_name))\n"
                "        self.medium.unlink(attributes_path(file_id, stored_name))\n"
            ),
            (
                "        self.medium.unlink(attributes_path(file_id, stored_name))\n"
                "        self.medium.unlink(content_path(file_id, stored_name))\n"
            ),
        ),
        f"{RULES}::test_rule_6_bytes_go_before_attributes",
        f"{ORDER}::test_rule_6_the_record_comes_first_then_bytes_then_attributes",
    ),
    broken(
        "6. Attributes that are over and have no bytes are no `missing_file`",
        "leaf_rows.py",
        (
            '    row = row_of(file, 0, 0, "missing_file" if file.status == "active" else None)\n',
            '    row = row_of(file, 0, 0, "missing_file")\n',
        ),
        f"{ORDER}::test_rule_6_attributes_that_are_over_without_bytes_are_never_a_missing_file",
    ),
    broken(
        "7. Space errors before the append: 507",
        "health.py",
        (
            "        if error.errno in NO_ROOM:\n            return StorageFull",
            "        if False:\n            return StorageFull",
        ),
        f"{DISK}::test_rule_7_no_room_before_the_append_is_refused_and_leaves_nothing",
        f"{DISK}::test_rule_7_no_room_in_the_log_is_refused_and_leaves_nothing",
    ),
    broken(
        "7. ... and nothing left",
        "committer.py",
        (
            "        except OSError as error:\n            change.discard()\n            change.refuse(element.health.refusal",
            "        except OSError as error:\n            change.refuse(element.health.refusal",
        ),
        f"{DISK}::test_rule_7_no_room_before_the_append_is_refused_and_leaves_nothing",
    ),
    broken(
        "7. After the append the change stands and is retried",
        "committer.py",
        (
            "                if not self._is_for_want_of_room(error):\n",
            "                if True:\n",
        ),
        f"{DISK}::test_rule_7_after_the_append_there_is_no_507_the_change_stands_and_pins_the_log",
    ),
    broken(
        "7. EIO, EROFS: writes stop until a restart, reads go on",
        "health.py",
        (
            '        self.fail(f"the disk failed ({error.strerror or error})")\n',
            "",
        ),
        f"{DISK}::test_rule_7_a_failing_disk_before_the_append_refuses_and_degrades",
    ),
    broken(
        "7. A lost mount stops writes",
        "store.py",
        ("        if not self.element.disk.medium.is_same_directory():\n", "        if False:\n"),
        f"{DISK}::test_rule_7_a_lost_mount_degrades",
    ),
    broken(
        "7. A record that may be on disk: `OUTCOME_UNKNOWN`, never 507 or 503",
        "committer.py",
        (
            '            self._element.health.fail(f"the log could not be synced ({broken})")\n            self._leave_open(ready)\n',
            '            self._element.health.fail(f"the log could not be synced ({broken})")\n            self._refuse_all(ready, broken.error)\n',
        ),
        f"{DISK}::test_rule_7_a_failed_log_sync_leaves_the_outcome_open_never_507_or_503",
    ),
    broken(
        "7. A failed sync is not retried: writes stop",
        "committer.py",
        ('            self._element.health.fail(f"the log could not be synced ({broken})")\n', ""),
        f"{ORDER}::test_rule_7_after_a_restart_a_disk_that_is_well_again_takes_writes",
    ),
    broken(
        "7. A spare segment and headroom are kept for a full disk",
        "headroom.py",
        (
            "        had = self._medium.size(PATH) is not None\n",
            "        had = False\n",
        ),
        f"{DISK}::test_rule_7_a_full_disk_lets_deletions_and_garbage_collection_through",
    ),
    broken(
        "7. ... from the start on",
        "checkpoint.py",
        ("            element.log.keep_spare()\n", ""),
        f"{ORDER}::test_rule_7_a_spare_segment_and_headroom_are_there_from_the_start_on",
    ),
    broken(
        "8. Restore is `accept-restored`: a new instance id",
        "directory.py",
        (
            "        identity = _new_identity(old.storage_id, now)\n",
            "        identity = old\n",
        ),
        "test_directory.py::test_a_restored_copy_is_accepted_with_a_new_life_and_all_its_files",
    ),
    broken(
        "8. Network filesystems are refused unless forced",
        "directory.py",
        ("        if not options.allow_network_fs:\n", "        if False:\n"),
        "test_directory.py::test_network_filesystems_are_refused_unless_forced",
    ),
    broken(
        "8. Whoever writes takes the directory's lock",
        "directory.py",
        ("        fcntl.flock(medium.root, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", "        pass\n"),
        "test_directory.py::test_a_second_writing_process_is_refused",
    ),
]
