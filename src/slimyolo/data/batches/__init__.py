"""Batches for training and evaluation: augmentation, mosaics, workers."""
