"""Two models on the same images, for every task that shows a difference."""
