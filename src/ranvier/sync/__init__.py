"""What a client has not heard yet: tokens, waiting, gathering, shaping."""
