"""What stops a command."""


class UserError(Exception):
    """Something stands in the way of a start; the message is one sentence that says what to do about it.

    The command line prints it and exits with 2. Everything else that is raised is a defect, with a traceback.
    """
