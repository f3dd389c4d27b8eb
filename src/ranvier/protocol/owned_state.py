"""State keys that begin with @, and whose they are (MSC3757, "Restricting who can overwrite a state event")."""

from ranvier.protocol.identifiers import BadIdentifier, check_user_id


def owner_of(state_key: str) -> str | None:
    """The user whose key it is: the whole key, or what stands before an underscore after the server's name.

    None if that is no user ID.
    """
    localpart, colon, rest = state_key.partition(":")
    user_id = f"{localpart}{colon}{rest.partition('_')[0]}"
    try:
        check_user_id(user_id)
    except BadIdentifier:
        return None
    return user_id
