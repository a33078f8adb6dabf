"""How well attackers predict an attribute from embeddings. No torch."""
