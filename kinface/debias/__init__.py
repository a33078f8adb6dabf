"""Methods that remove an attribute from the embedding: attribute heads, adversaries, gradient reversal, erasure."""
