"""A cut network for people who have no slimyolo: its weights, its shapes, and one file of code that needs torch alone."""
