"""Small changes of the code that decides, each of which a test has to notice (`scripts/mutate`)."""
