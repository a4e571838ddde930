"""Taking the program out of a response."""

from trainer.extraction import extract

MARKS = ("\ndef ", "\nprint(", "\n```")


def test_a_response_without_a_mark_is_all_code() -> None:
    """And is not said to have ended."""
    assert extract("    return 1\n", MARKS) == ("    return 1\n", False)


def test_the_first_mark_ends_the_code() -> None:
    """Whatever the order of the marks in the recipe."""
    assert extract("    return 1\nprint(2)\ndef other():\n", MARKS) == ("    return 1\n", True)


def test_a_mark_inside_a_line_is_code() -> None:
    """Only the beginning of a line ends a function."""
    assert extract("    print(1)\n", MARKS) == ("    print(1)\n", False)
