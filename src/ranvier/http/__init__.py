"""Request and response, routing on the raw path, authentication, limits, and the error table."""
