"""Matrix itself: what the specification decides, as plain functions and values. No I/O, clock or chance."""
