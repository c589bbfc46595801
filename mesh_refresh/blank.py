"""Which text counts as nothing: one rule for replies, for stored documents and for arguments of callers. Pure."""

from unicodedata import category

_UNSEEN = {"Cc", "Cf", "Zs", "Zl", "Zp"}
"""Controls (NUL too), formats (zero-width spaces, byte order marks) and separators: categories of Unicode."""
_WORDS = {"null", "none", "undefined", "nan", "\\n"}
"""Words for nothing, as programs write them where they convert it to text: JavaScript, Python, C#, pandas, CSV."""
_LONGEST_WORD = max(map(len, _WORDS))
_BLANK_LETTERS = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}
"""The Hangul fillers and the empty Braille pattern: letters and a symbol by their category, and white on paper."""


def is_blank(text: str) -> bool:
    """Whether `text` is invisible, or is a word for nothing, such as "null". Such a text is no token and no id."""
    if "!" <= text < "\x7f":  # it begins with a visible character of ASCII, as nearly every token does
        return len(text) <= _LONGEST_WORD and text.lower() in _WORDS
    return is_unseen(text)


def is_unseen(text: str) -> bool:
    """Whether `text` is empty, or has no visible character."""
    return all(category(character) in _UNSEEN or character in _BLANK_LETTERS for character in text)


def some(text: str | None) -> str | None:
    """`text` to the byte; None where it is blank, which is how many servers and databases spell nothing."""
    # As `is_blank` does, without its call: a refresh asks fourteen times.
    if text is None or ("!" <= text < "\x7f" and len(text) > _LONGEST_WORD):
        return text
    return None if is_blank(text) else text
