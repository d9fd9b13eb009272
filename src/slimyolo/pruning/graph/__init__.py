"""The values of the analysis: channel groups, the workspace that builds them, index maps, constants on their way."""
