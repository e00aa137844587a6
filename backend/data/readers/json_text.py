"""A JSON text read from the front, value by value, so that memory holds a row and not the file."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from backend.data.readers.source import CHUNK, LARGEST_ROW, Source, clip
from backend.errors import UserError


def opens_json(head: str, source: Source) -> bool:
    """Whether a text begins like JSON; one that is called a text has to begin like rows: {" or [{"."""
    return (_OPENING_ROWS if source.is_called_text else _OPENING).match(head) is not None


class JsonText:
    """What is left to read of a JSON text. Raises `UserError` with the line where it is broken."""

    _decoder = json.JSONDecoder()
    _space = re.compile(r"[ \t\n\r]*")

    def __init__(self, text: io.TextIOWrapper, name: str) -> None:
        self._file = text
        self._name = name
        self._text = ""  # what is read and not yet dropped
        self._at = 0
        self._line = 1  # where _text begins

    def elements(self) -> Iterator[Any]:
        """The elements of the list this text is, or each value where values simply follow one another."""
        if self.take("["):
            yield from self.rest_of_list()
            if self.peek():
                raise self._fault("there is more after the end of the list")
        else:
            while self.peek():
                yield self.value()

    def elements_under(self, list_field: str) -> Iterator[Any]:
        """The elements of the list under a key of the object this text is."""
        for key in self.keys():
            if key == list_field and self.take("["):
                yield from self.rest_of_list()
                return
            self.value()
        raise UserError(f'{self._name} has no list called "{clip(list_field)}". Choose a key that holds one.')

    def keys(self) -> Iterator[str]:
        """The keys of the object ahead. Whoever asks reads each value before the next key."""
        self.expect("{")
        while not self.take("}"):
            key = self.value()
            self.expect(":")
            yield key
            if not self.take(","):
                self.expect("}")
                return

    def rest_of_list(self) -> Iterator[Any]:
        """The elements of a list whose bracket has been taken."""
        if self.take("]"):
            return
        while True:
            yield self.value()
            if self.take("]"):
                return
            self.expect(",")

    def value(self) -> Any:
        """The value ahead."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated string") or error.pos + 16 > len(self._text)
                if not (cut_off and self._read_on()):
                    raise self._fault(error.msg) from error
            except RecursionError as error:
                raise self._fault("it is nested too deeply") from error
            except ValueError as error:  # Python refuses integers of more than 4300 digits
                raise self._fault("a number is too long") from error
            else:
                # A number at the end of what is read may go on: 1 and 1e are the beginnings of 1e+5.
                if end + 4 <= len(self._text) or not self._read_on():
                    self._at = end
                    return value

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self._at = self._space.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def take(self, character: str) -> bool:
        """Go past the character if it is next."""
        found = self.peek() == character
        self._at += found
        return found

    def expect(self, character: str) -> None:
        if not self.take(character):
            raise self._fault(f'a "{character}" is missing')

    def _read_on(self) -> bool:
        """Drop what is done with and read some more; False at the end of the file, when nothing is dropped either."""
        if len(self._text) - self._at > LARGEST_ROW:
            raise self._fault(f"a value is longer than {LARGEST_ROW:,} characters")
        more = self._file.read(max(CHUNK, len(self._text) - self._at))  # doubling: a long value is not reparsed often
        if not more:
            return False
        self._line += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + more
        self._at = 0
        return True

    def _fault(self, reason: str) -> UserError:
        line = self._line + self._text.count("\n", 0, self._at)
        return UserError(f"{self._name} is not valid JSON from line {line} on: {reason}. Mend it, or export it again.")


_OPENING = re.compile(r'\s*(\{|\[\s*[\[\]{"\d-])')
_OPENING_ROWS = re.compile(r'\s*(\[\s*)?\{\s*["}]')
