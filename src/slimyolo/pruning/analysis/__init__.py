"""From a module to its channel graph: trace, coupling, constants, fallbacks."""
