"""The training loop and its parts: augmentation, optimizer, checkpoints, device, several processes."""
