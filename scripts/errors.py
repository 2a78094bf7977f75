"""The failures that a person can mend. Each says what was wrong, which setting or row, and what to do next."""


class UserError(Exception):
    """An expected failure: `migrate` prints the message on stderr, without a traceback, and exits with the code."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class RunInProgress(UserError):  # noqa: N818  (the name says what happened)
    """Another process is working on the same target, or builds the models that this one reads."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=3)
