"""The plan of a cut: how it is made, priced and compared."""
