"""Users and what is theirs: registration, login, tokens, devices, profiles, account data."""
