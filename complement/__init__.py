"""Complement, the homeserver test suite, against this server: with Docker, or without (`docs/complement.md`)."""
