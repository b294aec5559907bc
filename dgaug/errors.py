"""What dgaug raises for the person at the keyboard."""


class DgaugError(Exception):
    """Wrong use or bad input, said in one line: what was expected, what was found and where, what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class Interrupted(Exception):
    """A long job stopped on a signal after saving; `remedy` resumes from there."""

    def __init__(self, signal_number: int, remedy: str = "run the same command again to resume") -> None:
        super().__init__(f"interrupted by signal {signal_number}, everything is saved; {remedy}")
        self.signal_number = signal_number
