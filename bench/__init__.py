"""The load harness: the same work, over the client-server API alone, against Ranvier and against Synapse."""
