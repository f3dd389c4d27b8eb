"""What other servers ask: the operations of the server-server API, one module for each file of the OpenAPI."""
