"""Whole experiments: sweeps of debiasing methods, and the protocols of KinFaceW and RFIW."""
