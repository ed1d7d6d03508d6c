"""What config.yaml may say, and every mistake in it, reported before anything runs."""
