"""The detector families. `FAMILIES` names them all."""
