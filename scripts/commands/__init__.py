"""The commands of `migrate`, one module for each group."""
