"""One file for each kind of operation: its channel rule beside its constant rule."""
