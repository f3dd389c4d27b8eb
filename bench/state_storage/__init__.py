"""What historical room state costs in bytes and time, in the store's own structure and in those it was chosen over."""
