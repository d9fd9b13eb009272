"""How important each channel is: from the weights alone, or measured on data."""
