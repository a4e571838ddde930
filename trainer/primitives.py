"""The vocabulary of the generated tasks: small operations on numbers, strings and lists of them.

Each primitive takes one kind of value and gives one kind of value, so any two whose kinds meet can follow each
other. Its `phrases` say in words what its `expression` does in Python; `{k}` stands for a small whole number in both.
Every kind has one variable name, which keeps the programs uniform. This file is data: trainer.family composes it.
"""

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """A kind of value; the enum value is the name of the variable that holds it."""

    NUMBER = "n"
    NUMBERS = "xs"
    TEXT = "s"
    WORDS = "ws"


@dataclass(frozen=True, kw_only=True, slots=True)
class Primitive:
    """One operation: what it turns into what, how it is said, and how it is written."""

    name: str
    takes: Kind
    gives: Kind
    phrases: tuple[str, ...]
    expression: str
    values_of_k: tuple[int, ...] = ()


_SMALL = (2, 3, 4, 5)
_MEDIUM = (2, 3, 4, 5, 6, 7, 8, 9)


def _make(takes: Kind, gives: Kind, rows: tuple[tuple[str, str, str, str], ...], ks: tuple[int, ...]) -> tuple[Primitive, ...]:
    return tuple(
        Primitive(
            name=name, takes=takes, gives=gives, phrases=(first, second), expression=code, values_of_k=ks if "{k}" in code else ()
        )
        for name, first, second, code in rows
    )


_NUMBERS_TO_NUMBERS = (
    ("add", "add {k} to every number", "increase each number by {k}", "[x + {k} for x in xs]"),
    ("subtract", "subtract {k} from every number", "lower each number by {k}", "[x - {k} for x in xs]"),
    ("multiply", "multiply every number by {k}", "scale each number by {k}", "[x * {k} for x in xs]"),
    (
        "remainder",
        "take every number modulo {k}",
        "replace each number by its remainder after division by {k}",
        "[x % {k} for x in xs]",
    ),
    ("divide", "divide every number by {k} rounding down", "floor divide each number by {k}", "[x // {k} for x in xs]"),
    ("square", "square every number", "multiply each number by itself", "[x * x for x in xs]"),
    ("negate", "negate every number", "flip the sign of each number", "[-x for x in xs]"),
    ("absolute", "take the absolute value of every number", "drop the sign of each number", "[abs(x) for x in xs]"),
    ("cap", "cap every number at {k}", "replace each number above {k} by {k}", "[min(x, {k}) for x in xs]"),
    ("raise", "raise every number to at least {k}", "replace each number below {k} by {k}", "[max(x, {k}) for x in xs]"),
    ("even", "keep the even numbers", "remove the odd numbers", "[x for x in xs if x % 2 == 0]"),
    ("odd", "keep the odd numbers", "remove the even numbers", "[x for x in xs if x % 2 == 1]"),
    ("positive", "keep the positive numbers", "remove zeros and negative numbers", "[x for x in xs if x > 0]"),
    ("negative", "keep the negative numbers", "remove zeros and positive numbers", "[x for x in xs if x < 0]"),
    ("above", "keep the numbers greater than {k}", "remove the numbers up to {k}", "[x for x in xs if x > {k}]"),
    ("below", "keep the numbers smaller than {k}", "remove the numbers from {k} up", "[x for x in xs if x < {k}]"),
    ("multiples", "keep the multiples of {k}", "remove the numbers not divisible by {k}", "[x for x in xs if x % {k} == 0]"),
    ("ascending", "sort the numbers", "order the numbers from smallest to largest", "sorted(xs)"),
    (
        "descending",
        "sort the numbers in descending order",
        "order the numbers from largest to smallest",
        "sorted(xs, reverse=True)",
    ),
    ("by_size", "sort the numbers by absolute value", "order the numbers by distance from zero", "sorted(xs, key=abs)"),
    ("backwards", "reverse the list", "turn the list around", "xs[::-1]"),
    ("first", "keep the first {k} numbers", "cut the list after {k} numbers", "xs[:{k}]"),
    ("last", "keep the last {k} numbers", "take {k} numbers from the end", "xs[-{k}:]"),
    ("skip", "drop the first {k} numbers", "skip {k} numbers at the start", "xs[{k}:]"),
    ("trim", "drop the last {k} numbers", "leave out {k} numbers at the end", "xs[:-{k}]"),
    ("every", "take every number at an even index", "skip every second number", "xs[::2]"),
    ("unique", "remove duplicates", "keep only the first of equal numbers", "list(dict.fromkeys(xs))"),
    (
        "steps",
        "take the differences between neighbours",
        "subtract from each number the one before it",
        "[b - a for a, b in zip(xs, xs[1:])]",
    ),
    ("sums", "add up neighbours", "sum each number and the one after it", "[a + b for a, b in zip(xs, xs[1:])]"),
    ("totals", "take running totals", "replace each number by the sum so far", "[sum(xs[:i + 1]) for i in range(len(xs))]"),
    ("indexed", "multiply every number by its index", "scale each number by its position", "[i * x for i, x in enumerate(xs)]"),
    ("rotate", "rotate the list left by {k}", "move the first {k} numbers to the end", "xs[{k}:] + xs[:{k}]"),
)
_NUMBERS_TO_NUMBER = (
    ("sum", "take the sum", "add all numbers together", "sum(xs)"),
    ("largest", "take the largest number", "find the maximum", "max(xs, default=0)"),
    ("smallest", "take the smallest number", "find the minimum", "min(xs, default=0)"),
    ("how_many", "count the numbers", "find the length of the list", "len(xs)"),
    ("distinct", "count the distinct numbers", "count how many different numbers there are", "len(set(xs))"),
    ("spread", "take the largest minus the smallest number", "find the spread", "max(xs, default=0) - min(xs, default=0)"),
    ("count_above", "count the numbers greater than {k}", "find how many numbers exceed {k}", "sum(x > {k} for x in xs)"),
    ("sum_squares", "take the sum of squares", "add the squares together", "sum(x * x for x in xs)"),
)
_NUMBERS_TO_TEXT = (
    ("dashes", "join the numbers with dashes", "write the numbers with dashes in between", '"-".join(str(x) for x in xs)'),
)
_NUMBER_TO_NUMBER = (
    ("plus", "add {k}", "increase it by {k}", "n + {k}"),
    ("minus", "subtract {k}", "lower it by {k}", "n - {k}"),
    ("times", "multiply by {k}", "scale it by {k}", "n * {k}"),
    ("modulo", "take it modulo {k}", "find the remainder after division by {k}", "n % {k}"),
    ("over", "divide by {k} rounding down", "floor divide it by {k}", "n // {k}"),
    ("squared", "square it", "multiply it by itself", "n * n"),
    ("size", "take its absolute value", "drop its sign", "abs(n)"),
    ("digit_sum", "take the sum of its digits", "add its digits together", "sum(int(d) for d in str(abs(n)))"),
)
_NUMBER_TO_NUMBERS = (("digits", "split it into digits", "list its digits", "[int(d) for d in str(abs(n))]"),)
_NUMBER_TO_TEXT = (
    ("decimal", "write it as text", "turn it into a string", "str(n)"),
    ("binary", "write it in binary", "find its binary digits", "bin(abs(n))[2:]"),
)
_TEXT_TO_TEXT = (
    ("upper", "change the text to upper case", "make all letters capital", "s.upper()"),
    ("lower", "change the text to lower case", "make all letters small", "s.lower()"),
    ("swap_case", "swap the case of the text", "exchange capital and small letters", "s.swapcase()"),
    ("mirror", "reverse the text", "write the text backwards", "s[::-1]"),
    ("no_vowels", "remove the vowels", "drop every vowel", '"".join(c for c in s if c.lower() not in "aeiou")'),
    ("vowels", "keep only the vowels", "drop all but the vowels", '"".join(c for c in s if c.lower() in "aeiou")'),
    ("letters", "keep only the letters", "drop all but the letters", '"".join(c for c in s if c.isalpha())'),
    ("no_digits", "remove the digits", "drop every digit", '"".join(c for c in s if not c.isdigit())'),
    ("tight", "remove the spaces", "drop every space", 's.replace(" ", "")'),
    ("underscores", "replace spaces by underscores", "write an underscore for each space", 's.replace(" ", "_")'),
    ("twice", "write every character twice", "double each character", '"".join(c + c for c in s)'),
    ("sort_text", "sort the characters", "order the characters", '"".join(sorted(s))'),
    ("once", "keep each character once", "drop repeated characters", '"".join(dict.fromkeys(s))'),
    ("head", "keep the first {k} characters", "cut the text after {k} characters", "s[:{k}]"),
    ("tail", "keep the last {k} characters", "take {k} characters from the end", "s[-{k}:]"),
    ("behead", "drop the first {k} characters", "skip {k} characters at the start", "s[{k}:]"),
    ("curtail", "drop the last {k} characters", "leave out {k} characters at the end", "s[:-{k}]"),
    ("turn", "rotate the text left by {k}", "move the first {k} characters to the end", "s[{k}:] + s[:{k}]"),
)
_TEXT_TO_NUMBER = (
    ("length", "count the characters", "find the length of the text", "len(s)"),
    ("count_vowels", "count the vowels", "find how many vowels there are", 'sum(c in "aeiou" for c in s.lower())'),
    ("count_capitals", "count the capital letters", "find how many capital letters there are", "sum(c.isupper() for c in s)"),
    ("count_letters", "count the letters", "find how many letters there are", "sum(c.isalpha() for c in s)"),
)
_TEXT_TO_NUMBERS = (("codes", "list the character codes", "replace each character by its code", "[ord(c) for c in s]"),)
_TEXT_TO_WORDS = (("split", "split the text into words", "list the words", "s.split()"),)
_WORDS_TO_WORDS = (
    ("alphabetical", "sort the words", "order the words alphabetically", "sorted(ws)"),
    ("by_length", "sort the words by length", "order the words from shortest to longest", "sorted(ws, key=len)"),
    ("word_order", "reverse the order of the words", "turn the list of words around", "ws[::-1]"),
    ("long", "keep the words longer than {k}", "remove the words of up to {k} characters", "[w for w in ws if len(w) > {k}]"),
    ("short", "keep the words shorter than {k}", "remove the words of {k} characters or more", "[w for w in ws if len(w) < {k}]"),
    ("shout", "change every word to upper case", "make each word all capital", "[w.upper() for w in ws]"),
    ("title", "capitalize every word", "start each word with a capital letter", "[w.capitalize() for w in ws]"),
    ("flip_words", "reverse every word", "write each word backwards", "[w[::-1] for w in ws]"),
    ("first_words", "keep the first {k} words", "cut the list after {k} words", "ws[:{k}]"),
    ("last_words", "keep the last {k} words", "take {k} words from the end", "ws[-{k}:]"),
    ("cut_words", "cut every word to {k} characters", "keep {k} characters of each word", "[w[:{k}] for w in ws]"),
)
_WORDS_TO_NUMBERS = (("lengths", "list the lengths of the words", "replace each word by its length", "[len(w) for w in ws]"),)
_WORDS_TO_TEXT = (
    ("join", "join the words with spaces", "write the words with spaces in between", '" ".join(ws)'),
    ("hyphens", "join the words with hyphens", "write the words with hyphens in between", '"-".join(ws)'),
    ("glue", "join the words without spaces", "glue the words together", '"".join(ws)'),
    ("initials", "join the first letters of the words", "write the initials of the words", '"".join(w[0] for w in ws)'),
    ("longest", "take the longest word", "find the word with the most characters", 'max(ws, key=len, default="")'),
)

PRIMITIVES: tuple[Primitive, ...] = (
    *_make(Kind.NUMBERS, Kind.NUMBERS, _NUMBERS_TO_NUMBERS, _MEDIUM),
    *_make(Kind.NUMBERS, Kind.NUMBER, _NUMBERS_TO_NUMBER, _MEDIUM),
    *_make(Kind.NUMBERS, Kind.TEXT, _NUMBERS_TO_TEXT, ()),
    *_make(Kind.NUMBER, Kind.NUMBER, _NUMBER_TO_NUMBER, _MEDIUM),
    *_make(Kind.NUMBER, Kind.NUMBERS, _NUMBER_TO_NUMBERS, ()),
    *_make(Kind.NUMBER, Kind.TEXT, _NUMBER_TO_TEXT, ()),
    *_make(Kind.TEXT, Kind.TEXT, _TEXT_TO_TEXT, _SMALL),
    *_make(Kind.TEXT, Kind.NUMBER, _TEXT_TO_NUMBER, ()),
    *_make(Kind.TEXT, Kind.NUMBERS, _TEXT_TO_NUMBERS, ()),
    *_make(Kind.TEXT, Kind.WORDS, _TEXT_TO_WORDS, ()),
    *_make(Kind.WORDS, Kind.WORDS, _WORDS_TO_WORDS, _SMALL),
    *_make(Kind.WORDS, Kind.NUMBERS, _WORDS_TO_NUMBERS, ()),
    *_make(Kind.WORDS, Kind.TEXT, _WORDS_TO_TEXT, ()),
)
