"""The augmentation service's routes that are more than a question to the store."""
