"""Over experiments: seeds together, paired tests, ranking, what would settle it, published results."""
