"""From a trained network and images to masks."""
