"""Cuts a module as a plan says, and checks that the cut module agrees with the masked one."""
