"""Errors that end a command."""


class UserError(Exception):
    """A problem the user can fix; the message is one sentence that says how.

    The command line prints it and exits with 2. Any other exception is a defect and prints a traceback. `field`: the
    input of a form that it concerns, empty if it is none in particular.
    """

    def __init__(self, sentence: str = "", *, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class SettingsError(UserError):
    """A setting is invalid; the message names it."""
