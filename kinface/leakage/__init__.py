"""How much of an attribute fresh probes read from embeddings. No torch."""
