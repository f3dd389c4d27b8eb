"""The one door for events: heads, appending, state, membership, history, and what passes away."""
