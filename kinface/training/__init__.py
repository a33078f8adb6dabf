"""Training a kinship model: losses, batches, the module that the engine runs."""
