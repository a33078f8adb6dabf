"""What keeps an attribute out of the embedding: attribute heads, adversaries, gradient reversal, erasure."""
