"""The bundle: the files that machines install from, as the server builds and serves them."""
