"""What servers do for each other: transactions, joins, queries, keys."""
