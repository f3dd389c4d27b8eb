"""What a container of each kind of server runs, with Docker and without: `python -m complement.servers.NAME`."""
