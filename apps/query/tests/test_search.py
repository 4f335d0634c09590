"""What a search finds, in which order and how it is paged."""

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import OperationalError, connection

from apps.query import reading, search, statements
from apps.query.asking import SearchMode, SearchQuery, SortBy, SortOrder
from apps.query.errors import SearchTimedOut
from apps.query.sql import Sql
from apps.query.tests.made_files import NOW, stored
from apps.registry.models import FileStatus
from apps.registry.tests import make
from artstore import paging

pytestmark = pytest.mark.django_db


def names(**asked: Any) -> list[str]:
    page = search.run(SearchQuery(**asked), NOW)
    return [hit.record.original_filename for hit in page.hits]


def fulltext(text: str) -> set[str]:
    return set(names(query=text, mode=SearchMode.FULLTEXT))


def _slow_in_order(page: Any) -> Any:
    """Reading in order takes longer than anybody hopes."""

    def made(query: SearchQuery, now: dt.datetime, in_order: bool = True) -> Sql:
        rows: Sql = page(query, now, in_order)
        slow = rows.wrapped("SELECT hits.* FROM pg_sleep(0.05), (", ") AS hits")
        return slow if in_order else rows

    return made


def _settings() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select name, setting from pg_settings where name in"
            " ('statement_timeout', 'enable_seqscan', 'work_mem', 'random_page_cost')"
        )
        return list(cursor.fetchall())


class TestExact:
    def test_the_whole_name_is_found_whatever_its_case(self) -> None:
        stored("Report.PDF")
        stored("Report.PDF.bak")
        assert names(query="rEPORT.pdf", mode=SearchMode.EXACT) == ["Report.PDF"]

    def test_cyrillic_case_is_ignored_too(self) -> None:
        stored("Отчёт.pdf")
        assert names(query="ОТЧЁТ.PDF", mode=SearchMode.EXACT) == ["Отчёт.pdf"]

    def test_a_decomposed_name_is_found_by_the_composed_one(self) -> None:
        stored("отче\u0308т.pdf")
        assert names(query="отчёт.pdf", mode=SearchMode.EXACT) == ["отче\u0308т.pdf"]


class TestPartial:
    def test_a_substring_is_found_whatever_its_case(self) -> None:
        stored("Annual_Report.pdf")
        stored("draft.txt")
        assert names(query="al_rep") == ["Annual_Report.pdf"]

    @pytest.mark.parametrize("wildcard", ["100%", "a_b", "100\\", "%_%"])
    def test_wildcards_are_literal(self, wildcard: str) -> None:
        """Prior art 33: wildcards in a search acted as wildcards."""
        stored(f"x{wildcard}y.txt")
        stored("x100xxaxby.txt")
        assert names(query=wildcard) == [f"x{wildcard}y.txt"]

    @pytest.mark.parametrize("short", ["r", "re", "Re", "20"])
    def test_one_or_two_characters_are_the_beginning_of_a_word(self, short: str) -> None:
        stored("annual_report-2026.pdf")
        stored("score120.bin")
        assert names(query=short) == ["annual_report-2026.pdf"]

    @pytest.mark.parametrize("short", ["%", "_", "__", ".*", "^"])
    def test_short_punctuation_begins_no_word_and_is_no_pattern(self, short: str) -> None:
        stored("annual_report.pdf")
        assert names(query=short) == []

    def test_a_word_start_with_a_special_character_behind_it_is_literal(self) -> None:
        stored("c+ primer.txt")
        stored("cc.txt")
        assert names(query="c+") == ["c+ primer.txt"]


class TestFulltext:
    @pytest.mark.parametrize(
        "word", ["report", "2026", "pdf", "reports", "annual", "REPORT", "annual_report-2026.PDF"]
    )
    def test_names_are_split_at_separators_case_and_extension(self, word: str) -> None:
        """Prior art 33: `annual_report_2026.pdf` was one word."""
        stored("annual_report-2026.PDF")
        assert fulltext(word) == {"annual_report-2026.PDF"}

    @pytest.mark.parametrize("kept", ["original_filename", "tags", "description"])
    @pytest.mark.parametrize(
        "text", ["e-mail", "www.example.com/a_b", "3.14", "+5 C", "v1.2.3-rc1", "#7", "a@b.org"]
    )
    def test_what_has_separators_is_found_as_it_was_written(self, kept: str, text: str) -> None:
        texts = {"tags": [text]} if kept == "tags" else {"description": f"see {text} there"}
        name = f"see {text} there" if kept == "original_filename" else "x.bin"
        stored(name, **({} if kept == "original_filename" else texts))
        assert fulltext(text) == {name}

    def test_humps_are_words(self) -> None:
        stored("AnnualReport2026.pdf")
        assert fulltext("report 2026") == {"AnnualReport2026.pdf"}

    @pytest.mark.parametrize("word", ["отчёт", "отчет", "отчеты", "отчётов"])
    def test_russian_forms_find_each_other(self, word: str) -> None:
        stored("отчеты_2026.pdf")
        assert fulltext(word) == {"отчеты_2026.pdf"}

    def test_quotes_a_minus_and_or_mean_what_they_mean_on_the_web(self) -> None:
        stored("annual report final.doc")
        stored("annual report draft.doc")
        stored("report annual.doc")
        stored("letter.doc")
        assert fulltext('"annual report" -draft') == {"annual report final.doc"}
        assert fulltext("letter or final") == {"annual report final.doc", "letter.doc"}

    def test_part_numbers_in_descriptions_are_found(self) -> None:
        stored("valve.step", description="Replaces AB-1234/5 since May")
        stored("other.step", description="5 of AB and 1234")
        assert fulltext("AB-1234/5") == {"valve.step"}

    @pytest.mark.parametrize("part", ["ab-1234", "1234/5", "AB", "1234", '"1234 5 since"'])
    def test_a_part_of_a_part_number_in_a_description_is_found(self, part: str) -> None:
        stored("valve.step", description="Replaces AB-1234/5 since May")
        stored("other.step", description="5 of A and B, 12345")
        assert fulltext(part) == {"valve.step"}

    @pytest.mark.parametrize("asked", ["AB-1234/5", "ab-1234", "1234/5", '"AB 1234"'])
    def test_part_numbers_in_names_and_tags_are_found_whole_and_in_part(self, asked: str) -> None:
        stored("AB-1234_5.step")
        stored("drawing.pdf", tags=["AB-1234/5"])
        stored("5_1234_AB.step")
        assert fulltext(asked) == {"AB-1234_5.step", "drawing.pdf"}

    def test_a_forbidden_part_number_is_forbidden_however_it_was_indexed(self) -> None:
        stored("valve one.step", description="Replaces AB-1234/5")
        stored("valve AB-1234_5.step")
        stored("valve two.step")
        assert fulltext("valve -AB-1234/5") == {"valve two.step"}

    def test_description_tags_and_metadata_values_are_searched_but_not_metadata_keys(self) -> None:
        stored("a.bin", description="about turbines")
        stored("b.bin", tags=["turbine"])
        stored("c.bin", metadata={"machine": {"kind": "turbine"}})
        stored("d.bin", metadata={"turbine": 1})
        assert fulltext("turbine") == {"a.bin", "b.bin", "c.bin"}

    def test_name_ranks_over_tags_over_description_over_metadata(self) -> None:
        stored("m.bin", age_days=1, metadata={"k": "turbine"})
        stored("d.bin", age_days=2, description="turbine " * 20)
        stored("t.bin", age_days=3, tags=["turbine"])
        stored("turbine.bin", age_days=4)
        page = search.run(SearchQuery(query="turbine", mode=SearchMode.FULLTEXT), NOW)
        assert [hit.record.original_filename for hit in page.hits] == [
            "turbine.bin",
            "t.bin",
            "d.bin",
            "m.bin",
        ]
        assert all(hit.relevance for hit in page.hits)

    @pytest.mark.parametrize(
        "odd", ["", "   ", "!!!", "'", '"', "& | !", "(", "\\", "-", "or", "or or"]
    )
    def test_odd_queries_break_nothing(self, odd: str) -> None:
        stored("plain.txt")
        assert fulltext(odd) <= {"plain.txt"}

    def test_a_query_of_hundreds_of_words_is_answered(self) -> None:
        stored("b.txt", description="a " * 400)
        assert fulltext("zz " * 166) == set()
        assert fulltext(" or ".join(["zz"] * 80 + ["b"])) == {"b.txt"}


class TestFilters:
    """Prior art 34: filters applied after LIMIT made hits invisible and totals wrong."""

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"filename": "wan"}, "wanted.Tar.GZ"),
            ({"file_extension": "gz"}, "wanted.Tar.GZ"),
            ({"file_extension": ".GZ"}, "wanted.Tar.GZ"),
            ({"file_extension": "tar.gz"}, "wanted.Tar.GZ"),
            ({"tags": ("a", "b")}, "wanted.Tar.GZ"),
            ({"metadata": {"k": {"n": 1}}}, "wanted.Tar.GZ"),
            ({"uploaded_by": "sa_other"}, "wanted.Tar.GZ"),
            ({"retention_policy": "temporary"}, "wanted.Tar.GZ"),
            ({"min_size": 50}, "wanted.Tar.GZ"),
            ({"max_size": 100, "min_size": 50}, "wanted.Tar.GZ"),
            ({"uploaded_before": NOW - dt.timedelta(days=100)}, "wanted.Tar.GZ"),
            ({"content_type": "application/gzip"}, "wanted.Tar.GZ"),
            ({"checksum": "AB" * 32}, "wanted.Tar.GZ"),
            ({"uploaded_after": NOW - dt.timedelta(days=2), "limit": 1}, "other.zip"),
        ],
    )
    def test_each_filter_finds_its_file_and_no_other(
        self, asked: dict[str, Any], found: str
    ) -> None:
        stored(
            "wanted.Tar.GZ",
            age_days=200,
            size=70,
            tags=["a", "b", "c"],
            metadata={"k": {"n": 1, "m": 2}, "z": 0},
            uploaded_by="sa_other",
            retention_policy="temporary",
            content_type="application/gzip",
            checksum="ab" * 32,
        )
        stored("other.zip", tags=["a"], metadata={"k": {"n": 2}})
        page = search.run(SearchQuery(**asked), NOW)
        assert [hit.record.original_filename for hit in page.hits] == [found]
        assert page.total == 1

    def test_a_compound_extension_begins_behind_a_dot(self) -> None:
        stored("a.tar.gz")
        stored("b.star.gz")
        stored("tar.gz")
        assert names(file_extension="tar.gz") == ["a.tar.gz"]
        assert names(file_extension="r.gz") == []
        assert len(names(file_extension="gz")) == 3

    def test_rows_still_uploading_are_never_found(self) -> None:
        stored("up.bin", status=FileStatus.UPLOADING)
        assert names(query="up.bin") == []

    def test_deleted_files_are_found_only_when_asked_for(self) -> None:
        stored("gone.bin", status=FileStatus.DELETED)
        assert names() == []
        assert names(status="deleted") == ["gone.bin"]

    def test_a_file_past_its_time_is_found_as_expired_before_its_record_says_so(self) -> None:
        stored("late.bin", expires_at=NOW)
        stored("early.bin", expires_at=NOW + dt.timedelta(seconds=1))
        stored("said.bin", age_days=2, status=FileStatus.EXPIRED, expires_at=NOW)
        stored("deleted.bin", status=FileStatus.DELETED, expires_at=NOW)
        assert names() == ["early.bin"]
        assert names(status="expired") == ["late.bin", "said.bin"]
        assert names(status="expired", query="i") == []
        assert names(status="expired", query="said") == ["said.bin"]
        page = search.run(SearchQuery(status="expired", limit=1), NOW)
        assert (page.total, page.has_more) == (2, True)
        worded = search.run(SearchQuery(status="expired", query="bin", limit=1), NOW)
        assert (worded.total, worded.has_more) == (2, True)
        rest = search.run(SearchQuery(status="expired", cursor=page.next_cursor), NOW)
        assert [hit.record.original_filename for hit in rest.hits] == ["said.bin"]
        ranked = SearchQuery(status="expired", query="bin", mode=SearchMode.FULLTEXT)
        assert len(search.run(ranked, NOW).hits) == 2

    def test_the_files_of_one_element_are_paged_by_cursor(self) -> None:
        wanted, other = make.element(), make.element()
        for number in range(5):
            stored(f"{number}.bin", age_days=number, storage_element=wanted)
        stored("other.bin", storage_element=other)
        first = search.run(SearchQuery(element_id=wanted.pk, limit=3), NOW)
        rest = search.run(SearchQuery(element_id=wanted.pk, limit=3, cursor=first.next_cursor), NOW)
        shown = [hit.record.original_filename for hit in (*first.hits, *rest.hits)]
        assert shown == [f"{number}.bin" for number in range(5)]
        assert (first.total, rest.has_more) == (5, False)

    def test_a_page_is_the_same_read_in_order_and_after_a_lost_hope(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(30):
            stored(f"report {number % 7}.bin", age_days=number % 3, tags=["t"])
        asked = {"query": "report", "tags": ("t",), "limit": 11, "offset": 5}
        for sort in (SortBy.UPLOADED_AT, SortBy.ORIGINAL_FILENAME, SortBy.SIZE):
            in_order = names(sort_by=sort, **asked)
            with monkeypatch.context() as patched:
                patched.setattr(search, "HOPED_SECONDS", 0.0)
                patched.setattr(statements, "page", _slow_in_order(statements.page))
                assert names(sort_by=sort, **asked) == in_order

    @pytest.mark.parametrize("order", list(SortOrder))
    @pytest.mark.parametrize("status", ["active", "expired"])
    def test_a_page_by_relevance_is_the_same_for_few_matches_and_for_many(
        self, monkeypatch: pytest.MonkeyPatch, order: SortOrder, status: str
    ) -> None:
        for number in range(12):
            late = NOW if status == "expired" and number % 2 else None
            said = status if not late else "active"
            words = "report " * (1 + number % 3)
            stored(f"{words}{number}.bin", age_days=number % 4, status=said, expires_at=late)
        asked = SearchQuery(
            query="report",
            mode=SearchMode.FULLTEXT,
            status=status,
            sort_order=order,
            limit=4,
            offset=3,
        )
        few = search.run(asked, NOW)
        assert (few.total, few.total_is_estimate, few.has_more) == (12, False, True)
        monkeypatch.setattr(statements, "EXACT_TOTAL", 5)
        many = search.run(asked, NOW)
        assert many.hits == few.hits
        assert len({hit.relevance for hit in few.hits}) > 1
        assert (many.total >= 6, many.total_is_estimate, many.has_more) == (True, True, True)

    def test_a_page_behind_the_last_match_by_relevance_still_has_the_total(self) -> None:
        stored("report.bin")
        asked = SearchQuery(query="report", mode=SearchMode.FULLTEXT, offset=3)
        page = search.run(asked, NOW)
        assert (page.hits, page.total, page.has_more) == ([], 1, False)
        nothing = search.run(SearchQuery(query="nothing", mode=SearchMode.FULLTEXT), NOW)
        assert (nothing.hits, nothing.total, nothing.has_more) == ([], 0, False)

    def test_only_the_newest_matches_are_ranked_either_way(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(9):
            stored(f"report {'report ' * number}{number}.bin", age_days=number)
        monkeypatch.setattr(statements, "RANKED_FILES", 4)
        asked = {"query": "report", "mode": SearchMode.FULLTEXT}
        few = names(**asked)
        monkeypatch.setattr(statements, "EXACT_TOTAL", 5)
        assert names(**asked) == few
        assert sorted(name[-5] for name in few) == ["0", "1", "2", "3"]


class TestLimits:
    def test_a_transaction_around_a_search_keeps_its_own_settings(self) -> None:
        before = _settings()
        assert names(query="report") == []
        assert _settings() == before

    def test_a_transaction_around_a_search_that_was_stopped_goes_on(self) -> None:
        before = _settings()
        with pytest.raises(SearchTimedOut):
            reading.rows(Sql("SELECT pg_sleep(60)"), 0.01)
        assert _settings() == before

    @pytest.mark.django_db(transaction=True)
    def test_the_limits_of_a_search_end_with_it(self) -> None:
        before = _settings()
        shown = reading.rows(Sql("SELECT current_setting('enable_seqscan')"))
        assert shown == [("off",)]
        with pytest.raises(SearchTimedOut):
            reading.rows(Sql("SELECT pg_sleep(60)"), 0.01)
        assert _settings() == before

    @pytest.mark.django_db(transaction=True)
    def test_a_lost_server_is_not_taken_for_a_search_that_was_stopped(self) -> None:
        with pytest.raises(OperationalError, match="terminating connection"):
            reading.rows(Sql("SELECT pg_terminate_backend(pg_backend_pid())"))
        connection.close()
        assert names() == []

    def test_times_and_metadata_of_a_hit_are_those_of_its_record(self) -> None:
        record = stored("a.bin", metadata={"k": [1, {"ё": None}]}, tags=["x", 'ё,"'])
        [hit] = search.run(SearchQuery(), NOW).hits
        for name in statements.COLUMNS:
            assert getattr(hit.record, name) == getattr(record, name), name
        assert hit.record.uploaded_at.utcoffset() == dt.timedelta(0)


class TestPaging:
    @pytest.mark.parametrize("sort", [SortBy.UPLOADED_AT, SortBy.SIZE, SortBy.ORIGINAL_FILENAME])
    @pytest.mark.parametrize("order", list(SortOrder))
    def test_a_cursor_visits_every_row_once_in_order(self, sort: SortBy, order: SortOrder) -> None:
        for number in range(23):
            stored(f"f{number % 5}.bin", age_days=number % 4, size=number % 3)
        whole = names(sort_by=sort, sort_order=order, limit=1000)
        seen: list[uuid.UUID] = []
        paged: list[str] = []
        cursor = None
        while True:
            page = search.run(
                SearchQuery(sort_by=sort, sort_order=order, limit=7, cursor=cursor), NOW
            )
            seen += [hit.record.file_id for hit in page.hits]
            paged += [hit.record.original_filename for hit in page.hits]
            assert page.total == 23
            if not page.has_more:
                break
            cursor = page.next_cursor
        assert len(set(seen)) == 23
        assert paged == whole

    def test_an_offset_and_a_cursor_agree(self) -> None:
        for number in range(9):
            stored(f"{number}.bin", age_days=number)
        first = search.run(SearchQuery(limit=4), NOW)
        by_cursor = search.run(SearchQuery(limit=4, cursor=first.next_cursor), NOW)
        by_offset = search.run(SearchQuery(limit=4, offset=4), NOW)
        assert by_cursor.hits == by_offset.hits
        assert (by_offset.total, by_offset.has_more) == (9, True)

    @pytest.mark.parametrize("most", [3, 4, 5, 9])
    def test_a_walk_ends_at_the_last_file_or_where_it_was_told(
        self, monkeypatch: pytest.MonkeyPatch, most: int
    ) -> None:
        for number in range(5):
            stored(f"{number}.bin", age_days=number)
        monkeypatch.setattr(search, "WALKED_FILES", 2)
        walked = [record.original_filename for record in search.walk(SearchQuery(), most, NOW)]
        assert walked == [f"{number}.bin" for number in range(min(most, 5))]

    def test_a_cursor_of_another_order_is_refused(self) -> None:
        for number in range(3):
            stored(f"{number}.bin")
        cursor = search.run(SearchQuery(limit=1), NOW).next_cursor
        with pytest.raises(Exception, match="not valid") as refused:
            search.run(SearchQuery(limit=1, cursor=cursor, sort_by=SortBy.SIZE), NOW)
        assert "cursor" in refused.value.details

    @pytest.mark.parametrize(
        "asked",
        [
            {"sort_by": SortBy.RELEVANCE},
            {"query": "x", "mode": SearchMode.FULLTEXT, "cursor": "abc"},
            {"cursor": "!!"},
            {"cursor": "W10"},
            {"cursor": "WyJ1cGxvYWRlZF9hdCIsIHRydWUsICJub3QgYSBkYXRlIiwgIm5vIl0"},
            {"cursor": "abc", "offset": 1},
            {
                "sort_by": SortBy.ORIGINAL_FILENAME,
                "cursor": paging.encode_cursor(
                    ["original_filename", False, "a\0", str(uuid.uuid4())]
                ),
            },
            {
                "sort_by": SortBy.ORIGINAL_FILENAME,
                "cursor": paging.encode_cursor(
                    ["original_filename", False, "\ud800", str(uuid.uuid4())]
                ),
            },
        ],
    )
    def test_orders_and_cursors_that_make_no_sense_are_refused(self, asked: dict[str, Any]) -> None:
        with pytest.raises(Exception, match="not valid"):
            search.run(SearchQuery(**asked), NOW)

    @pytest.mark.parametrize(
        ("sort", "value", "found"),
        [
            (SortBy.ORIGINAL_FILENAME, 5, 1),
            (SortBy.SIZE, 10**30, 0),
            (SortBy.SIZE, -(10**30), 1),
            (SortBy.SIZE, "0", 1),
            (SortBy.SIZE, float("inf"), None),
            (SortBy.SIZE, "many", None),
            (SortBy.UPLOADED_AT, 5, None),
            (SortBy.UPLOADED_AT, "2026-13-40T00:00:00Z", None),
            (SortBy.UPLOADED_AT, "2020-01-01T00:00:00Z", 1),
        ],
    )
    def test_a_cursor_made_by_hand_is_compared_or_refused_and_breaks_nothing(
        self, sort: SortBy, value: Any, found: int | None
    ) -> None:
        stored("a.bin", size=7)
        cursor = paging.encode_cursor([str(sort), False, value, str(uuid.uuid4())])
        asked = {"sort_by": sort, "sort_order": SortOrder.ASC, "cursor": cursor}
        if found is None:
            with pytest.raises(Exception, match="not valid"):
                names(**asked)
        else:
            assert len(names(**asked)) == found

    def test_the_total_is_exact_on_every_page(self) -> None:
        for number in range(12):
            stored(f"f{number}.bin", age_days=number)
        totals = {search.run(SearchQuery(limit=5, offset=o), NOW).total for o in (0, 5, 10, 15)}
        assert totals == {12}
