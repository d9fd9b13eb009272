"""What an exported file says of itself, read without its runtime: nothing in it is run."""
