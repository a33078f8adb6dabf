"""Families, people, faces and pairs as tables, and their readers: FIW, lists, annotations, KinFaceW. No torch."""
