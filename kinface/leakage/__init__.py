"""What fresh probes read of an attribute from features. No torch."""
