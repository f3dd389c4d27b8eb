"""The bell: who must look at the log again, and how far it has come."""
