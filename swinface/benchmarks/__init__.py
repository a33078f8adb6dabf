"""The protocols of the paper's tables, and others."""
