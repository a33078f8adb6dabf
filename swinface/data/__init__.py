"""Faces and labels, as data sets' authors hand them out, and the batches that training draws."""
