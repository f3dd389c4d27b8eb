"""What passes between servers, measured over TLS: two real servers, and servers that are played."""
