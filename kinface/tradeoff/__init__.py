"""How much kinship and how much of attributes erasers leave in embeddings; no network is trained."""
