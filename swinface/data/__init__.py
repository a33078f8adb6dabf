"""Faces and labels, as authors of data sets publish them, and the batches that training draws."""
