"""How a command of `edge` ends when it cannot do what was asked."""


class CommandError(Exception):
    """Ends the command. The text is for the person; code is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code
