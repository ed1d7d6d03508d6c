"""The exception for everything that a user can fix."""

from deepnets.utils.text import one_line


class UserError(Exception):
    """An error that the user can fix: a wrong configuration, missing or corrupted data, an impossible request.

    The message has one line per problem: the file, the key, the value, and what to do. What cannot be printed is
    escaped in it: names of files may have it.
    """

    def __str__(self) -> str:
        return "\n".join(map(one_line, super().__str__().split("\n")))
