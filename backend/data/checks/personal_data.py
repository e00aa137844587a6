"""What looks like personal data or a key: e-mail addresses, phone numbers, access keys, account and card numbers."""

import re
from array import array
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

from backend.data.checks import Check, Finding, Gravity, Mark, Mender, Passing, Row, Watch, rows_are

SAFE_ENDS = ("example.com", "example.org", "example.net", ".example", ".test", ".invalid", ".localhost")  # RFC 2606: nobody's
CARD_LENGTHS = {"3": (14, 15), "4": (16, 19), "5": (16,), "6": (16, 17, 18, 19)}  # by the first digit: Amex and Diners, Visa, ...


class PersonalData(Check):
    """The rules stand with each kind below: a pattern, and where there is one the number's own checksum."""

    order: ClassVar[int] = 9
    title: ClassVar[str] = "Personal data and keys"
    looks_for: ClassVar[str] = "e-mail addresses, phone numbers, keys or account numbers"
    gravity: ClassVar[Gravity] = "wrong"
    mend: ClassVar[str] = "Put [e-mail], [phone] in their place"

    name: Literal["personal_data"] = "personal_data"

    def begin(self, passing: Passing) -> Watch:
        return _Found(self)

    def marks(self, row: Row) -> list[Mark]:
        return [Mark(turn, *found.span) for turn, text in enumerate(row.texts) for found in personal_data(text)]

    def mender(self, finding: Finding) -> Mender:
        return lambda row: row.rewritten(without_personal_data)


class _Found(Watch):
    def __init__(self, check: PersonalData) -> None:
        self._check, self._seen = check, 0
        self._rows = array("q")
        self._kinds: dict[str, int] = {}

    def see(self, row: Row) -> None:
        self._seen += 1
        kinds = {found.kind for text in row.texts for found in personal_data(text)}
        if kinds:
            self._rows.append(row.number)
        for kind in kinds:
            self._kinds[kind] = self._kinds.get(kind, 0) + 1

    def findings(self) -> list[Finding]:
        if not self._rows:
            return []
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in sorted(self._kinds.items(), key=lambda pair: -pair[1]))
        sentence = (
            f"{rows_are(len(self._rows), 'hold', 'holds')} what looks like personal data or a key: {kinds}. A model may say it word for word to "
            "whoever asks."
        )
        return [self._check.finding(sentence, self._rows, count=len(self._rows), of=self._seen)]


class Personal(NamedTuple):
    """Something found in a text: characters begin to end."""

    kind: str  # as it stands in the placeholder
    span: tuple[int, int]


class _Kind(NamedTuple):
    name: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]  # what the pattern cannot tell


def personal_data(text: str) -> list[Personal]:
    """All that looks personal in a text, in reading order. Where two kinds overlap the one listed first counts."""
    if not MAYBE.search(text):  # most texts are done with here
        return []
    found: list[Personal] = []
    for kind in KINDS:
        for match in kind.pattern.finditer(text):
            begin, end = match.span()
            if kind.holds(match.group()) and not any(begin < other.span[1] and other.span[0] < end for other in found):
                found.append(Personal(kind.name, (begin, end)))
    return sorted(found, key=lambda each: each.span)


def without_personal_data(text: str) -> str:
    """The text with a placeholder for each thing found: [e-mail], [phone]."""
    for found in reversed(personal_data(text)):
        begin, end = found.span
        text = f"{text[:begin]}[{found.kind}]{text[end:]}"
    return text


def passes_luhn(digits: str) -> bool:
    """The checksum of card numbers (ISO/IEC 7812): every second digit from the right doubled, the sum a multiple of ten."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def passes_mod_97(account: str) -> bool:
    """The checksum of an IBAN (ISO 13616): the first four signs put last, letters as 10 to 35, the remainder by 97 is 1."""
    turned = account[4:] + account[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def _is_an_address(text: str) -> bool:
    return not text.lower().endswith(SAFE_ENDS)


def _is_a_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return len(digits) in CARD_LENGTHS.get(digits[0], ()) and len(set(digits)) > 1 and passes_luhn(digits)


def _is_an_account(text: str) -> bool:
    account = text.replace(" ", "").upper()
    return 15 <= len(account) <= 34 and passes_mod_97(account)


def _is_a_phone_number(text: str) -> bool:
    """Seven to fifteen digits (E.164), and not the numbers films and handbooks use (555-01xx)."""
    digits = re.sub(r"\D", "", text)
    return 7 <= len(digits) <= 15 and len(set(digits)) > 2 and not re.fullmatch(r"1?\d{3}55501\d\d", digits)


def _always(text: str) -> bool:
    return True


def _is_a_secret(text: str) -> bool:
    """Letters and digits mixed as chance mixes them: a word or a placeholder (sk-your-key-here) is none."""
    return len(set(text)) >= 10 and bool(re.search(r"\d", text)) and bool(re.search(r"[A-Za-z]", text))


# A key begins as its maker says: OpenAI and Anthropic sk-, AWS AKIA and ASIA, Hugging Face hf_, GitHub ghp_ and its like,
# Google AIza, Slack xox.-
KEY = r"(?:sk-[\w-]{20,}|(?:AKIA|ASIA)[0-9A-Z]{16}|hf_\w{30,}|gh[pousr]_\w{30,}|github_pat_\w{40,}|AIza[\w-]{35}|xox[abprs]-[\w-]{20,})"
# International with +, North American with its area code, or a national number that begins with 0 and is set apart
PHONE = (
    r"\+\d{1,3}(?:[ .\-/]?\(?\d{1,4}\)?){2,5}(?!\d)"
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|[2-9]\d\d[.\- ])[1-9]\d\d[.\- ]\d{4}(?!\d)"
    r"|0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5}(?![\d])"
)
# Four digits and four again, or as American Express groups them; the same mark, or none, between all groups
CARD = r"\d{4}([ -]?)\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -]?)\d{6}\2\d{4,5}"
KINDS = (
    _Kind("private key", re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:[\s\S]{0,8000}?-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----)?"), _always),
    _Kind("key", re.compile(rf"(?<![\w-]){KEY}"), _is_a_secret),
    _Kind("e-mail", re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b"), _is_an_address),
    _Kind("account number", re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"), _is_an_account),
    _Kind("card number", re.compile(rf"(?<![\w.,-])(?:{CARD})(?!\w|[.,-]\d)"), _is_a_card),
    _Kind("phone", re.compile(rf"(?<![\w.,/+=$€£-])(?<!\d )(?:{PHONE})(?![\w%]|[.,/-]\d)"), _is_a_phone_number),
)
# something each kind has: @, the beginning of a key, or a run of seven digits with what may stand between them
MAYBE = re.compile(r"@|PRIVATE KEY-----|sk-|AKIA|ASIA|hf_|gh[pousr]_|github_pat_|AIza|xox[abprs]-|\d(?:[ ().\-/]{0,2}\d){6}|[A-Z]{2}\d\d ?[A-Z0-9]{4}")
