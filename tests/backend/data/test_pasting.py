"""Cells from a spreadsheet's clipboard, as rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.data.pasting import MOST_ROWS, cells_of, read_cells
from backend.errors import UserError


def quoted(cell: str) -> str:
    """A cell as Excel and Google Sheets put it on the clipboard."""
    doubled = cell.replace('"', '""')
    return f'"{doubled}"' if any(mark in cell for mark in "\t\n\r") else cell


@given(st.lists(st.lists(st.text(alphabet='ab"\t\n \r', min_size=1, max_size=6).filter(lambda cell: not cell.startswith('"')), min_size=2, max_size=3),
                min_size=1, max_size=4))
def test_cells_come_out_as_they_went_in(lines: list[list[str]]) -> None:
    assert cells_of("".join("\t".join(map(quoted, cells)) + "\r\n" for cells in lines)) == lines


def test_a_cell_with_line_breaks_and_quotes_is_one_cell() -> None:
    assert cells_of('a\t"line 1\nline ""2"""\r\nb\tc\r\n') == [["a", 'line 1\nline "2"'], ["b", "c"]]


def test_a_quote_that_quotes_nothing_is_text() -> None:
    assert cells_of('"Hello" he said\t"Hi"\n5" pipe\t') == [['"Hello" he said', '"Hi"'], ['5" pipe', ""]]


def test_two_columns_are_user_and_assistant_three_begin_with_system() -> None:
    assert read_cells("q\ta", "messages").records == [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    ]
    roles = [turn["role"] for turn in read_cells("s\tq\ta\n\tq\ta", "messages").records[0]["messages"]]
    assert roles == ["system", "user", "assistant"]
    assert len(read_cells("s\tq\ta\n\tq\ta", "messages").records[1]["messages"]) == 2, "an empty cell is no system prompt"


def test_a_first_row_that_names_the_columns_is_told_and_decides_their_order() -> None:
    pasted = read_cells("Answer\tQuestion\na\tq\n", "messages")
    assert pasted.header == ("Answer", "Question")
    assert [turn["content"] for turn in pasted.records[0]["messages"]] == ["q", "a"]
    assert read_cells("Question\tWhat is it?\nq\ta", "messages").header == ()


def test_texts_take_one_column() -> None:
    assert read_cells('one\n"two\nlines"\n\n', "text").records == [{"text": "one"}, {"text": "two\nlines"}]
    with pytest.raises(UserError, match="2 columns; a text document is one"):
        read_cells("a\tb", "text")


@pytest.mark.parametrize(("text", "words"), [("", "no cells"), (" \n\t\n", "no cells"), ("a\tb\tc\td", "4 columns"), ("a\tb\n" * (MOST_ROWS + 1), "CSV")])
def test_what_makes_no_rows_gets_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_cells(text, "messages")
