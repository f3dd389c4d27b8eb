"""Telling users of what they want to hear: push rules as users edit them."""
