"""From a photo to faces and what is said of them: detection, alignment, prediction."""
