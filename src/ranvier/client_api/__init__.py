"""The Client-Server API: one module for each file of the specification's OpenAPI."""
