"""The exception for everything that a user can fix."""


class UserError(Exception):
    """An error that the user can fix: a wrong configuration, missing or corrupted data, an impossible request.

    The message has one line per problem: the file, the key, the value, and what to do.
    """
