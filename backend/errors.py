"""What we say when something cannot be done.

A `UserError` is for the person at the screen: it carries every problem found, each a sentence that says
what is wrong, where, why, and what to do about it. It is caught at two borders only: the click and the worker.
`Stopped` is no problem: it is how work that was asked to stop gets out from wherever it is.
"""


class UserError(Exception):
    """One or more problems a person can mend. `problems` are plain sentences, shown as they are."""

    def __init__(self, *problems: str) -> None:
        assert problems, "a UserError says what is wrong"
        super().__init__("\n".join(problems))
        self.problems: tuple[str, ...] = problems


class OutOfMemory(UserError):
    """Memory ran out where no smaller piece would have helped. Whoever keeps what can be had again may put it away."""


class Stopped(Exception):
    """Somebody asked to stop; what was under way is thrown away, and done anew when one goes on."""
