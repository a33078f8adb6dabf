"""Whole experiments: the ablation of debiasing methods, KinFaceW's protocol."""
