"""Ranvier and Synapse as peers: all tests here share one Synapse."""
