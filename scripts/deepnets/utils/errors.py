"""The one exception for what a user can fix."""


class UserError(Exception):
    """Something the user can fix: bad configuration, missing or damaged data, an impossible request.

    The message has one line per problem; each names the file, the key, the value and the way out.
    """
