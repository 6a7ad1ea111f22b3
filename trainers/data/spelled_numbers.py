"""Numbers that people write for people, as SQL: ``29,85``, ``1.200,50``, ``$1,200``, ``12 %``, ``(12.50)``, ``1_000``.

A spelling says which mark is the decimal one. The other marks between digits separate groups of three. A unit (a
currency or a percent sign) is dropped: ``12 %`` is 12, as it is written. So the number in training is the number in the
online store, and the one that a caller sends.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.data.engine import text_literal

MINUS = "\u2212\u2013-"  # the hyphen last, since these stand in sets of regular expressions
"""Minus sign, en dash, hyphen."""
_SPACES = " \u00a0\u2009\u202f"
_APOSTROPHES = "'\u2019"
_CODES = (
    *("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "CNY", "RMB", "INR", "BRL", "SEK", "NOK", "DKK", "PLN"),
    *("CZK", "HUF", "RON", "TRY", "ZAR", "MXN", "SGD", "HKD", "KRW", "ILS", "THB", "IDR", "MYR", "PHP", "AED", "SAR"),
)
_UNIT = rf"(?:R\$|[$€£¥₹₽₩₺₫₪฿₴]|%|‰|kr\.?|zł|Kč|Fr\.?|Rs\.?|{'|'.join(_CODES)})"


@dataclass(frozen=True, slots=True)
class Spelling:
    """How numbers are spelled.

    Attributes:
        decimal: the decimal mark, ``.`` or ``,``.
        thousands: the only mark between groups of digits, if it is declared; empty means any other than ``decimal``.
    """

    decimal: str
    thousands: str = ""

    @property
    def pattern(self) -> str:
        """The regular expression of the numbers in this spelling, plain ones included."""
        sign, spaces = f"[+{MINUS}]?", f"[{_SPACES}]*"
        before = f"(?:{sign}{spaces}(?:{_UNIT}{spaces})?|{_UNIT}{spaces}{sign}{spaces})"
        amount = f"{before}{self._number}{spaces}{_UNIT}?-?"
        return rf"'?(?:{amount}|\({spaces}{amount}{spaces}\))"

    @property
    def _number(self) -> str:
        decimal = f"[{self.decimal}]"
        marks = [mark for mark in (",", ".") if mark != self.decimal]
        marks += [f"{_APOSTROPHES}", "_", _SPACES] if self.decimal == "." else [_APOSTROPHES, _SPACES]
        marks = [mark for mark in marks if not self.thousands or self.thousands in mark]
        # Groups of two are lakhs and crores, as in 1,20,000.
        grouped = [rf"[1-9][0-9]{{0,2}}(?:[{mark}][0-9]{{3}})+" for mark in marks]
        if "," in marks:
            grouped.append(r"[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}")
        whole = "|".join(("[0-9]+", *grouped))
        return rf"(?:(?:{whole})(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?"

    def is_number(self, text: str) -> str:
        """BOOLEAN: the text is a number of this spelling."""
        return f"regexp_full_match({text}, {text_literal(self.pattern)})"

    def number(self, text: str) -> str:
        """DOUBLE; null where the text is no number of this spelling."""
        marks = rf"[.,]?[0-9][0-9.,_{_APOSTROPHES}{_SPACES}]*(?:[eE][+-]?[0-9]+)?"
        found = f"regexp_extract({text}, {text_literal(marks)})"
        digits = f"regexp_replace({found}, '[^0-9eE+{self.decimal}-]', '', 'g')"
        if self.decimal == ",":
            digits = f"replace({digits}, ',', '.')"
        is_negative = f"regexp_matches({text}, {text_literal(rf'^[^0-9]*[({MINUS}]|-$')})"
        value = f"TRY_CAST({digits} AS DOUBLE)"
        return f"(CASE WHEN {self.is_number(text)} THEN CASE WHEN {is_negative} THEN -{value} ELSE {value} END END)"


POINT, COMMA = Spelling("."), Spelling(",")


def is_plain(text: str) -> str:
    """BOOLEAN: the text is a number as programs write it. DuckDB alone would take ``1_000``, too."""
    # Texts that are no numbers cost a cast most. A number begins with a digit, a sign or a point, or is inf or nan.
    may_be = f"({text} < ':' OR {text}[1] IN ('i', 'I', 'n', 'N'))"
    return (
        f"(CASE WHEN {may_be} THEN TRY_CAST({text} AS DOUBLE) IS NOT NULL AND NOT contains({text}, '_') ELSE false END)"
    )


def plain_number(text: str) -> str:
    """DOUBLE; null where `is_plain` is false."""
    return f"(CASE WHEN NOT contains({text}, '_') THEN TRY_CAST({text} AS DOUBLE) END)"


def unit_of(text: str) -> str:
    """The unit beside a number; empty where there is none."""
    return f"regexp_extract({text}, {text_literal(_UNIT)})"
