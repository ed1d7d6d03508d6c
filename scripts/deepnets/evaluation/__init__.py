"""One experiment in numbers: metrics, the files that it left, the size of its network."""
