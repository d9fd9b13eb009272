"""YOLOv5 6.x and 7.0: anchor-based head, loss, checkpoints and architectures."""
