"""From a photo to predictions for its faces: detection, alignment, prediction."""
