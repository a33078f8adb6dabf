"""Training a SwinFace: losses, the module that the engine runs, the folder of a run."""
