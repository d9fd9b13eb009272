"""Image files: reads, checks, caches and letterboxes them."""
