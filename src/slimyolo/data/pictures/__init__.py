"""Image files: reading, scanning, keeping and letterboxing them."""
