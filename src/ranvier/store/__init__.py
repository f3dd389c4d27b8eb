"""All SQL, the schema, the ordered log, and group commit."""
