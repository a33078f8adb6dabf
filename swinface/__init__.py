"""SwinFace: one Swin Transformer for face recognition, expression, age and 40 attributes (Qin et al., 2023)."""
