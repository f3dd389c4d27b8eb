"""What the protocol floor costs, beside Synapse's functions on the same input (`python -m bench.protocol`)."""
