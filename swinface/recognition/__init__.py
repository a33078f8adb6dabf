"""Recognition over millions of identities: the margin softmax and its optimiser."""
