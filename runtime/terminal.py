"""Text for a terminal."""


def printable(text: str) -> str:
    """Replace characters that control a terminal; text from machines may contain them."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
