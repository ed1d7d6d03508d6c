"""Over experiments: seeds together, ranking, published results."""
