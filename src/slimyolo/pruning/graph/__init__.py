"""The data of the analysis: channel groups, the workspaces in which they are found, index maps, constants."""
