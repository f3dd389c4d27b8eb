"""Every outgoing request to other servers: discovery, the key ring, the typed server-server API."""
