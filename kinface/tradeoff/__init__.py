"""What erasers keep of kinship and leave of attributes, measured on embeddings; no network is trained."""
