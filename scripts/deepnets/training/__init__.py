"""The training loop and what it stands on: augmentation, optimizer, checkpoints, device, several processes."""
