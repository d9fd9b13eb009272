"""YOLOv8, and what the anchor-free families share: head, assignment, loss."""
