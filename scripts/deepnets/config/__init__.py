"""The keys and values of config.yaml, and the checks that report every mistake in it before anything runs."""
